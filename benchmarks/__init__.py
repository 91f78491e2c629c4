"""Time and memory of the pipeline, beside the notebook's way of training."""
