"""The files of a run that the tools read, made by hand; and git to commit them."""

import json
import subprocess
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from stages.common import mnist, tables
from stages.common.files import sha256
from stages.common.tables import EpochScores, History, Prediction
from tests.support.runner import ROOT
from tools.dvc_files import md5

RIGHT = [3] * 10  # the labels, too


def write_run(
    folder: Path, lr: float, seed: int, predicted: list[int], metrics: str = "metrics"
) -> None:
    """What `dvc repro` would leave, with the evidence in the folder `metrics`."""
    accuracy = predicted.count(3) / len(predicted)
    predictions = [(index, 3, digit, 0.9) for index, digit in enumerate(predicted)]
    scores = {"test": {"accuracy": accuracy, "loss": 5}, "per_digit": {"3": accuracy}}
    labels = sha256(mnist.encode_idx(np.array(RIGHT, np.uint8)))
    params = {
        "download": {"sha256": {"t10k-labels-idx1-ubyte": labels}},
        "train": {"lr": lr, "seed": seed, "epochs": 1, "batch_size": 4},
    }
    pipeline = (ROOT / "dvc.yaml").read_bytes()
    files = {
        f"{metrics}/predictions.csv": tables.encode(Prediction, predictions),
        f"{metrics}/metrics.json": json.dumps(scores).encode(),
        f"{metrics}/epochs.csv": tables.encode(EpochScores, [(1, 5, accuracy, None, None)]),
        f"{metrics}/history.csv": tables.encode(History, [(2, 3, 6, lr, 5.0, accuracy)]),
        "requirements.txt": b"# all\nscipy==1.17.1  # exact\ntorch>=2.13,<2.14\n",
        "stages/train.py": b"print(1)\n",
        "dvc.yaml": pipeline.replace(b"metrics/", f"{metrics}/".encode()),
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    entries = [{"path": name, "md5": md5(content)} for name, content in files.items()]
    yaml = YAML()
    yaml.dump(params, folder / "params.yaml")
    stage = {
        "cmd": "python -m stages.train",
        "deps": [entries[5]],
        "params": {"params.yaml": params},
        "outs": [
            {"path": "data/MNIST/raw", "md5": "d0.dir"},
            {
                "path": "models/model.safetensors",
                "md5": entries[0]["md5"],
                "size": 1234,
            },  # as if it decided
            *entries[:4],
        ],
    }
    yaml.dump({"schema": "2.0", "stages": {"train": stage}}, folder / "dvc.lock")


def git(*arguments: str) -> str:
    """What git prints in the working directory."""
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit() -> str:
    """Commit all files; the commit."""
    git("add", "--all")
    git("commit", "--quiet", "--message=run")
    return git("rev-parse", "HEAD")


def change_confidence(predictions: Path) -> None:
    """Another number in the row of the second image of a predictions.csv: 0.123456."""
    lines = predictions.read_text().splitlines()
    lines[2] = f"{lines[2].rpartition(',')[0]},0.123456"
    predictions.write_text("\n".join(lines) + "\n")
