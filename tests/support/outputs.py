"""Where the outputs of the real run are in this clone: data, weights and predictions."""

from tests.support.runner import ROOT
from tools import dvc_files
from tools.dvc_files import Pipeline

_DVC = Pipeline.parse((ROOT / "dvc.yaml").read_bytes())
DATA = ROOT / _DVC.path(dvc_files.DATA)
MODEL = ROOT / _DVC.path(dvc_files.MODEL)
PREDICTIONS = ROOT / _DVC.path(dvc_files.PREDICTIONS)
