"""Where `dvc repro` puts the real data, weights and predictions."""

from tests.support.runner import ROOT
from tools import pipeline
from tools.pipeline import Pipeline

_DVC = Pipeline.parse((ROOT / "dvc.yaml").read_bytes())
DATA = ROOT / _DVC.path(pipeline.DATA)
MODEL = ROOT / _DVC.path(pipeline.MODEL)
PREDICTIONS = ROOT / _DVC.path(pipeline.PREDICTIONS)
