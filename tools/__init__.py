"""What people run beside the pipeline: one module a tool."""
