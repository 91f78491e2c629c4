"""What people run beside the pipeline: compare, verify, predict, export, page, distributed.

They share `repository` (git), `pipeline` (dvc.yaml and dvc.lock), `statistics`, `machine`,
`markdown` and `terminal`. Two more are `operators` (the network as ONNX has it) and `prepare` (a
picture as MNIST has it).
"""

import stages  # noqa: F401 - it ends in one line if this Python lacks the packages
