"""Measure the parts of a training step, and compare its time with the arithmetic it needs.

    python -m benchmarks.steps [--quick]

The steps are those of stages.train, on the real images. A stopwatch measures the functions that a
step calls. Recipes and numbers of workers take turns, so that a slow minute of the machine affects
all of them. The tables show medians over all steps.
"""

import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.processes import ROOT, busy_seconds, data_folder, percentage
from benchmarks.recipes import DEFAULT, SPRINT, Overrides, apply, read
from benchmarks.summary import disturbance
from stages import train
from stages.common import errors, mnist, params
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.training import augment, step
from stages.training.step import Examples, smoothed_targets
from tools.markdown import table

WARM_UP = 20  # first steps of each turn, which are not counted
LOAD, FORWARD, BACKWARD, UPDATE = "Load: index, augment", "Forward", "Backward", "Update"
SHARDS, STEP = "Shards", "Step"  # all of shard_sums, and the whole step

Times = Sequence[dict[str, float]]  # for each step, the seconds in each of its functions
P = ParamSpec("P")
R = TypeVar("R")


class Stopwatch:
    """Adds up how long functions take, by name, over all threads."""

    def __init__(self) -> None:
        """Start with no calls."""
        self._calls: list[tuple[str, float]] = []  # `append` is safe between threads

    def around(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function; the stopwatch measures each of its calls."""

        @wraps(function)
        def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            self._calls.append((name, time.perf_counter() - start))
            return result

        return measured

    def lap(self) -> dict[str, float]:
        """The seconds in each function since the last call of `lap`."""
        seconds: dict[str, float] = {}
        for name, duration in self._calls:
            seconds[name] = seconds.get(name, 0) + duration
        self._calls.clear()
        return seconds


def main() -> None:
    """Let recipes and numbers of workers take turns; print the parts of a step."""
    parser = ArgumentParser(description="Measure the parts of a training step.")
    parser.add_argument("--quick", action="store_true", help="few steps: does it work?")
    turns, count = (1, 20) if parser.parse_args().quick else (4, 100)

    data = data_folder()
    start, before = time.perf_counter(), others_seconds()
    numerics.pin()
    config = params.load(ROOT / "params.yaml", "model", NetworkConfig)
    images, labels = mnist.load(data, "train")
    x, y = train.to_tensors(images, labels, config, torch.device("cpu"))

    trained = {name: load(overrides) for name, overrides in read().items() if name != SPRINT}
    contests = list(product(trained, (1, 2)))
    times: dict[tuple[str, int], list[dict[str, float]]] = {contest: [] for contest in contests}
    for recipe, workers in tqdm(turns * contests, leave=False, disable=None):
        times[recipe, workers] += steps(config, trained[recipe], x, y, workers, count)
    others = percentage(others_seconds() - before, time.perf_counter() - start)

    one, two = ({name: times[name, workers] for name in trained} for workers in (1, 2))
    batch_size = trained[DEFAULT].batch_size
    print(
        f"Medians over {turns * count} steps",
        divided(one, two),
        arithmetic(config, batch_size, one[DEFAULT], two[DEFAULT], fastest(batch_size)),
        disturbance(others),
        sep="\n\n",
    )


def others_seconds() -> float:
    """CPU time that all other programs have used, since some time in the past."""
    return busy_seconds() - time.process_time()


def load(overrides: Overrides) -> train.TrainParams:
    """The committed parameters of training, with other values for some keys."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        apply(overrides, ROOT / "params.yaml", path)
        return params.load(path, "train", train.TrainParams)


def steps(
    config: NetworkConfig,
    p: train.TrainParams,
    x: augment.Normalised,
    y: Tensor,
    workers: int,
    count: int,
) -> Times:
    """Measure the first `count` steps of a training.

    Args:
        x: images, (n, 1, 28, 28)
        y: their labels, (n,)
    """
    network, optimizer = train.initial_state(p, config, x.device)
    watch = Stopwatch()
    transform = watch.around(LOAD, augment.transform(x, p.augment, p.seed, epoch=1))
    examples = Examples(transform, y, smoothed_targets(p.label_smoothing, x.device), (p.seed, 1))
    batches = torch.split(train.shuffled(len(x), p.seed, epoch=1), p.batch_size)
    times = []
    with ExitStack() as stack:
        for name, owner, function in (
            (FORWARD, network, "forward"),
            (BACKWARD, torch.autograd, "grad"),
            (SHARDS, step, "shard_sums"),
            (UPDATE, optimizer, "step"),
        ):
            measured = watch.around(name, getattr(owner, function))
            stack.enter_context(patch.object(owner, function, measured))
        pool = stack.enter_context(numerics.pool(workers))
        for number, batch in enumerate(batches[: WARM_UP + count], start=1):
            start = time.perf_counter()
            lr = train.learning_rate(p, number, p.epochs * len(batches))
            train.set_learning_rate(optimizer, lr)
            step.train_step(network, optimizer, examples, batch, p.shards, pool)
            times.append({STEP: time.perf_counter() - start, **watch.lap()})
    return times[WARM_UP:]


def divided(one: Mapping[str, Times], two: Mapping[str, Times]) -> str:
    """The table of the parts of a step for each recipe: with one worker, then with two.

    "Coordination" is the time of two workers beyond half the time of the shards and the update:
    handing over the shards, waiting for the slower one, and adding their gradients. "Shards slowed
    down" is how much longer a shard takes beside another one, because both share the memory and
    Python's lock.
    """
    columns = []
    for recipe, times in one.items():
        step, shards, update = (middle(times, name) for name in (STEP, SHARDS, UPDATE))
        both, beside = (middle(two[recipe], name) for name in (STEP, SHARDS))
        parts = [middle(times, name) for name in (LOAD, FORWARD, BACKWARD)]
        seconds = [*parts, shards - sum(parts), update, step - shards - update]
        seconds += [step, both, both - shards / 2 - update, (beside - shards) / 2]
        columns += [[f"{1000 * value:.2f}" for value in seconds]]
        columns += [[f"{100 * value / step:.0f} %" for value in seconds]]
    labels = [
        LOAD, FORWARD, BACKWARD, "Loss, hits", UPDATE, "Adding shards, hand-over",
        "A step, one worker", "A step, two workers", "Of that, coordination",
        "Of that, shards slowed down",
    ]  # fmt: skip
    header = ["Part", *(cell for recipe in one for cell in (f"{recipe.capitalize()}, ms", "Share"))]
    return table(header, list(zip(labels, *columns, strict=True)))


def middle(times: Times, name: str) -> float:
    """The median seconds in a function, over the steps."""
    return median(step[name] for step in times)


def arithmetic(config: NetworkConfig, batch_size: int, one: Times, two: Times, rate: float) -> str:
    """The number of multiply-adds, and the table of how fast they are done.

    Its last row is the least time they could take, at `rate` multiply-adds a second and core.
    """
    forward, backward = multiply_adds(Network(config))
    rows = [
        [label, f"{1000 * seconds:.2f}", f"{batch_size * count / seconds / 1e9:.1f}"]
        for label, count, seconds in (
            ("Forward, one worker", forward, middle(one, FORWARD)),
            ("Backward, one worker", backward, middle(one, BACKWARD)),
            ("A step, one worker", forward + backward, middle(one, STEP)),
            ("A step, two workers", forward + backward, middle(two, STEP)),
            ("The floor, one core", forward + backward, batch_size * (forward + backward) / rate),
        )
    ]
    return (
        f"Multiply-adds an image: {forward + backward:,} (forward {forward:,}, backward"
        f" {backward:,}). The floor is the time at the rate of a large convolution.\n\n"
        + table([f"Batch of {batch_size}", "ms", "GMAC/s"], rows)
    )


def multiply_adds(network: Network) -> tuple[int, int]:
    """The multiply-adds of one image, forward and backward: 480,500 and 817,000 by default.

    PyTorch counts each as two operations.
    """
    with FlopCounterMode(display=False) as forward:
        total = network(torch.zeros(1, 1, mnist.SIZE, mnist.SIZE)).sum()
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(total, list(network.parameters()))
    return forward.get_total_flops() // 2, backward.get_total_flops() // 2


def fastest(batch_size: int) -> float:
    """Multiply-adds a second of one core in a large convolution, with the pipeline's settings."""
    channels, side, repeats = 64, 24, 20
    layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).requires_grad_(False)
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(batch_size, channels, side, side).to(memory_format=torch.channels_last)
    watch = Stopwatch()
    measured = watch.around(FORWARD, layer)
    seconds = []
    for _ in range(repeats):
        measured(x)
        seconds.append(watch.lap()[FORWARD])
    return layer.weight.numel() * batch_size * side**2 / median(seconds)


if __name__ == "__main__":
    errors.run(main)
