"""Other layers, other images: what metrics.json says is what plain PyTorch finds with the weights
in eval mode; or the stage refuses."""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet18  # type: ignore[import-untyped]

from stages.common import mnist
from stages.common.files import sha256
from tests.support.project import Project
from tests.support.runner import DATA
from tools.yaml_files import set_values

NORM_AND_DROPOUT = """
    return {
        "conv1": nn.Conv2d(images.channels, 6, 5, bias=False),
        "norm1": nn.BatchNorm2d(6),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(4),
        "drop1": nn.Dropout(0.25),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(6 * 6 * 6, images.classes),
        "log_softmax": nn.LogSoftmax(dim=1),
    }
"""
RESNET = """
    from torchvision.models import resnet18
    resnet = resnet18(num_classes=images.classes)
    resnet.conv1 = nn.Conv2d(images.channels, 64, 7, stride=2, padding=3, bias=False)
    return {"resnet": resnet, "log_softmax": nn.LogSoftmax(dim=1)}
"""
DEFAULT = '"flatten": nn.Flatten(),  # (n, 320)'
THIRD = f'"conv3": nn.Conv2d(config.conv2_filters, 8, 3), "relu4": nn.ReLU(), {DEFAULT}'
UNUSED = ["conv1_filters", "conv2_filters", "kernel_size", "hidden_units"]


def norm_and_dropout() -> nn.Module:
    layers = {
        "conv1": nn.Conv2d(1, 6, 5, bias=False),
        "norm1": nn.BatchNorm2d(6),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(4),
        "drop1": nn.Dropout(0.25),
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(216, 10),
        "log_softmax": nn.LogSoftmax(dim=1),
    }
    return nn.Sequential(OrderedDict(layers))


def resnet() -> nn.Module:
    network = resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return nn.Sequential(OrderedDict(resnet=network, log_softmax=nn.LogSoftmax(dim=1)))


def convolutions(channels: int, features: int, classes: int, *, third: bool = False) -> nn.Module:
    layers = {
        "conv1": nn.Conv2d(channels, 10, 5),
        "pool1": nn.MaxPool2d(2),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(10, 20, 5),
        "pool2": nn.MaxPool2d(2),
        "relu2": nn.ReLU(),
    }
    if third:
        layers |= {"conv3": nn.Conv2d(20, 8, 3), "relu4": nn.ReLU()}
    layers |= {
        "flatten": nn.Flatten(),
        "fc1": nn.Linear(features, 50),
        "relu3": nn.ReLU(),
        "fc2": nn.Linear(50, classes),
        "log_softmax": nn.LogSoftmax(dim=1),
    }
    return nn.Sequential(OrderedDict(layers))


@dataclass(frozen=True)
class Change:
    """What someone changes, and the same network in plain PyTorch."""

    plain: Callable[[], nn.Module]
    layers: str = ""  # in place of the body of `layers`
    replaced: dict[str, str] = field(default_factory=dict)  # text of network.py
    removed: list[str] = field(default_factory=list)  # keys of the group model
    images: dict[str, Any] = field(default_factory=dict)  # values of the group images
    train: dict[str, Any] = field(default_factory=dict)


COLOUR: dict[str, Any] = {"height": 32, "width": 32, "channels": 3}
COLOUR |= {"mean": [0.3, 0.2, 0.4], "std": [0.2, 0.3, 0.25]}
ONE_SHARD = {"shards": 1, "lr": 0.02}
CHANGES = {
    "BatchNorm and Dropout": Change(
        norm_and_dropout, NORM_AND_DROPOUT, removed=UNUSED, train=ONE_SHARD
    ),
    "resnet18": Change(resnet, RESNET, removed=UNUSED, train=ONE_SHARD | {"epochs": 1}),
    "a third convolution": Change(
        lambda: convolutions(1, 32, 10, third=True), replaced={DEFAULT: THIRD}
    ),
    "32x32 in colour": Change(lambda: convolutions(3, 500, 10), images=COLOUR),
    "twelve classes": Change(lambda: convolutions(1, 320, 12), images={"classes": 12}),
}


def change(project: Project, made: Change) -> None:
    """Edit the project as someone would, and let DVC run it."""
    folder = project.folder
    source = folder / "stages/model/network.py"
    text = source.read_text(encoding="utf-8")
    for old, new in made.replaced.items():
        assert old in text
        text = text.replace(old, new)
    for key in made.removed:
        lines = [line for line in text.splitlines() if not line.startswith(f"    {key}:")]
        text = "\n".join(lines) + "\n"
    if made.layers:
        text += f"\n\ndef layers(config: NetworkConfig, images: ImageFormat):{made.layers}"
    source.write_text(text, encoding="utf-8")
    params = folder / "params.yaml"
    if made.removed:
        lines = [
            line
            for line in params.read_text().splitlines()
            if line.strip().split(":")[0] not in made.removed
        ]
        params.write_text("\n".join(lines).replace("\nmodel:", "\nmodel: {}") + "\n")
    values = {f"images.{key}": value for key, value in made.images.items()}
    values |= {f"train.{key}": value for key, value in made.train.items()}
    if made.images:
        values["download.sha256"] = write_images(folder.parent / "tiny", **made.images)
    set_values(params, values)


def write_images(
    folder: Path,
    height: int = 28,
    width: int = 28,
    channels: int = 1,
    classes: int = 10,
    **_: object,
) -> dict[str, str]:
    """A small data set: each class is bright at rows and in a colour of its own, on noise."""
    random = np.random.default_rng(7)
    digests = {}
    for split, n in (("train", 600), ("test", 200)):
        labels = random.integers(0, classes, n, dtype=np.uint8)
        images = random.integers(0, 90, (n, height, width, channels), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 4, :, label % channels] += 150
        content = mnist.encode_images(images), mnist.encode_idx(labels)
        for name, encoded in zip(mnist.FILES[split], content, strict=True):
            (folder / name).write_bytes(encoded)
            digests[name] = sha256(encoded)
    return digests


def plain_accuracy(folder: Path, network: nn.Module, mean: list[float], std: list[float]) -> float:
    """Without any code of the project: the fraction of the test images that are right."""
    network.load_state_dict(load_file(folder / "models/model.safetensors"))
    network.eval()
    images, labels = (read_idx(folder / DATA / name) for name in mnist.FILES["test"])
    x = torch.from_numpy(images.astype(np.float32)) / 255
    x = x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
    x = (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    with torch.no_grad():
        predicted = network(x).argmax(1).numpy()
    return float((predicted == labels).mean())


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    content = path.read_bytes()
    n = content[3]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * n).reshape(
        np.frombuffer(content, ">u4", n, 4)
    )


@pytest.mark.parametrize(
    "kind",
    [
        name if name.startswith("Batch") else pytest.param(name, marks=pytest.mark.slow)
        for name in CHANGES
    ],
)
def test_the_accuracy_is_that_of_plain_pytorch(project: Project, kind: str) -> None:
    made = CHANGES[kind]
    change(project, made)
    stages = project.repro()
    assert stages[-3:] == ["train", "evaluate", "plot"]
    metrics = json.loads((project.folder / "metrics/metrics.json").read_bytes())
    images: dict[str, Any] = {"mean": [0.1307], "std": [0.3081]} | made.images
    expected = plain_accuracy(project.folder, made.plain(), images["mean"], images["std"])
    assert metrics["test"]["accuracy"] == expected
    assert expected > 1 / 5  # it has learned something
    assert len(metrics["per_digit"]) == images.get("classes", 10)
    # The same bytes again, with other workers and other batches of evaluate.
    project("git", "commit", "--quiet", "--all", "--message=changed")
    set_values(project.folder / "params.yaml", {"evaluate.batch_size": 64})
    again = project.run("dvc", "repro", "--force", "evaluate", PIPELINE_WORKERS="1")
    assert again.returncode == 0, again.stdout
    assert (
        project("git", "diff", "--name-only", "metrics/predictions.csv", "metrics/metrics.json")
        == ""
    )


def test_layers_that_need_the_whole_batch_need_one_shard(project: Project) -> None:
    made = CHANGES["BatchNorm and Dropout"]
    change(project, made)
    set_values(project.folder / "params.yaml", {"train.shards": 2})
    process = project.run("dvc", "repro", "train")
    assert process.returncode != 0
    (line,) = [line for line in process.stdout.splitlines() if "train.shards" in line]
    assert line.startswith("params.yaml: train.shards: must be 1 for this network (got 2)")
