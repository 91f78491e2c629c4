"""What people run beside the pipeline:

- `compare`, `seeds`, `verify`: is a change real, is a recipe better, is `dvc.lock` true?
- `predict`, `export`, `page`: use the network
- `validate`: check params.yaml before DVC runs

They share `git`, `dvc_files` (dvc.yaml and dvc.lock), `yaml_files`, `processes`, `scratch` (a copy
of a commit, in which the pipeline runs), `expected` (the digests that a commit promises),
`statistics`, `machine`, `markdown`, `terminal`, `operators` (the network as ONNX has it) and
`prepare` (a picture as MNIST has it).
"""

import stages  # noqa: F401 - it ends in one line if this Python lacks the packages
