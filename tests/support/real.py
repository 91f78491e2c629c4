"""Where `dvc repro` puts the real data, weights and predictions."""

from tests.support.runner import ROOT

DATA = ROOT / "data/MNIST/raw"
MODEL = ROOT / "models/model.safetensors"
PREDICTIONS = ROOT / "metrics/predictions.csv"
