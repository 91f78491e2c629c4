"""Score the trained network on the 10,000 test images, and on the validation images, if any.

Reads the MNIST folder, the final weights and those after each epoch, the group `evaluate` of
params.yaml, and how many images `train` held out. A weights file says itself what network it
holds. Writes metrics.json, predictions.csv, and epochs.csv with the scores after each epoch.

    python -m stages.evaluate data/MNIST/raw models/model.safetensors models/checkpoints \\
        metrics/metrics.json metrics/predictions.csv metrics/epochs.csv
"""

import math
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field
from tqdm import tqdm

from stages.common import files, inputs, params, tables
from stages.common.errors import run
from stages.common.images import Labels
from stages.common.tables import EpochScores, Prediction
from stages.model import numerics, weights
from stages.model.network import Network
from stages.model.scoring import LogProbabilities, Sets, classify, load_sets

Metrics = dict[str, dict[str, float]]  # metrics.json


class EvaluateParams(params.Params):
    batch_size: Annotated[int, Field(ge=1)]


class HeldOutParams(params.Params):
    """The one key of the group `train` that says which images are for validation."""

    model_config = ConfigDict(extra="ignore")
    validation_size: Annotated[int, Field(ge=0)]


@inputs.guarded
def main() -> None:
    args = parse_arguments()
    p = params.load(args.params, "evaluate", EvaluateParams)
    validation_size = params.load(args.params, "train", HeldOutParams).validation_size
    numerics.pin()
    network = weights.load(args.model)
    sets = load_sets(args.data, validation_size, network.images)
    checkpoints = weights.list_checkpoints(args.checkpoints)
    with numerics.pool(args.workers) as pool:
        epochs = []
        for path in tqdm(checkpoints, "Epochs", leave=False, file=sys.stdout, disable=None):
            outputs = classify_sets(weights.load(path), sets, p.batch_size, pool)
            epochs.append(epoch_scores(weights.checkpoint_epoch(path), summarise(outputs, sets)))
        if args.model.read_bytes() != checkpoints[-1].read_bytes():  # else they are scored already
            outputs = classify_sets(network, sets, p.batch_size, pool)

    _, labels = sets["test"]
    metrics = summarise(outputs, sets) | {"per_digit": per_digit(outputs["test"], labels)}
    rows = predictions(outputs["test"], labels)
    files.write(args.epochs, tables.encode(EpochScores, epochs))
    files.write(args.predictions, tables.encode(Prediction, rows))
    files.write(args.metrics, files.canonical_json(metrics))
    print(describe(metrics, sets))


def parse_arguments() -> Namespace:
    parser = ArgumentParser(description="Score the network on the test images.")
    parser.add_argument("data", type=Path, help="the folder with the MNIST files")
    parser.add_argument("model", type=Path, help="the final weights")
    parser.add_argument(
        "checkpoints", type=Path, help="the folder with the weights after each epoch"
    )
    parser.add_argument("metrics", type=Path, help="where accuracy and loss go, as JSON")
    parser.add_argument("predictions", type=Path, help="where each image's prediction goes, as CSV")
    parser.add_argument("epochs", type=Path, help="where the scores after each epoch go, as CSV")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    numerics.add_workers_option(parser)
    return parser.parse_args()


def classify_sets(
    network: Network, sets: Sets, batch_size: int, pool: numerics.Workers
) -> dict[str, LogProbabilities]:
    """The network's output for each image of each set."""
    return {name: classify(network, images, batch_size, pool) for name, (images, _) in sets.items()}


def mean_loss(outputs: LogProbabilities, labels: Labels) -> float:
    """The mean negative log likelihood of the true labels, in nats."""
    log_likelihoods = outputs[np.arange(len(labels)), labels]
    return -math.fsum(log_likelihoods.tolist()) / len(labels)


def accuracy(outputs: LogProbabilities, labels: Labels) -> float:
    """The fraction of the images whose most probable digit is the label."""
    return int((outputs.argmax(axis=1) == labels).sum()) / len(labels)


def summarise(outputs: dict[str, LogProbabilities], sets: Sets) -> Metrics:
    """Accuracy and loss on each set."""
    return {
        name: rounded(
            {"accuracy": accuracy(outputs[name], labels), "loss": mean_loss(outputs[name], labels)}
        )
        for name, (_, labels) in sets.items()
    }


def per_digit(outputs: LogProbabilities, labels: Labels) -> dict[str, float]:
    """Each digit's accuracy, as a fraction of all images of that digit."""
    return rounded(
        {
            str(digit): accuracy(outputs[labels == digit], labels[labels == digit])
            for digit in np.unique(labels)
        }
    )


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    """Six decimals: more than 10,000 images can tell apart."""
    return {name: round(number, 6) for name, number in numbers.items()}


def epoch_scores(epoch: int, metrics: Metrics) -> EpochScores:
    """The row of an epoch."""
    test, validation = metrics["test"], metrics.get("validation", {})
    return EpochScores(
        epoch, test["loss"], test["accuracy"], validation.get("loss"), validation.get("accuracy")
    )


def predictions(outputs: LogProbabilities, labels: Labels) -> list[Prediction]:
    """A row for each image, in the order of the test set."""
    predicted = outputs.argmax(axis=1).tolist()
    confidence = np.exp(outputs.max(axis=1).astype(np.float64)).tolist()
    return [
        Prediction(*row)
        for row in zip(range(len(labels)), labels.tolist(), predicted, confidence, strict=True)
    ]


def describe(metrics: Metrics, sets: Sets) -> str:
    """The lines on the terminal: each set, then each digit."""
    lines = [
        f"Accuracy of the network on the {len(labels):,} {name} images:"
        f" {100 * metrics[name]['accuracy']:.2f} %"
        for name, (_, labels) in sets.items()
    ]
    for digit, value in metrics["per_digit"].items():
        lines.append(f"Accuracy of digit {digit} : {100 * value:.2f} %")
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
