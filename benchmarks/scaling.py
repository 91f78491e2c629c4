"""Measure what more processes bring, by the size of a batch.

    python -m benchmarks.scaling [--steps N]

Trains as the stage does, with the default network and four shards: in one process, and in
several that torchrun starts on this host. An epoch is so many times the median step.
"""

import json
import math
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from stages import train
from stages.common import errors, mnist, params
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.training import ranks
from stages.training.step import Examples, train_step
from tools.markdown import table

Gather = Callable[[ranks.DistributedTeam, Tensor], Tensor]

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data/MNIST/raw"
BATCHES = 50, 500, 5_000
SHARDS = 4
CONTESTANTS = (1, 1), (1, 2), (2, 1), (4, 1)  # ranks, threads of each


def timed(gather: Gather, seconds: list[float]) -> Gather:
    """The same, but it appends how long each call took, the wait for the slowest rank included."""

    def timed_gather(team: ranks.DistributedTeam, content: Tensor) -> Tensor:
        start = time.perf_counter()
        contents = gather(team, content)
        seconds.append(time.perf_counter() - start)
        return contents

    return timed_gather


def main() -> None:
    """Start the ranks in turn; print the table."""
    parser = ArgumentParser(description="Measure what more processes bring.")
    parser.add_argument("--steps", type=int, default=200, help="steps of each size, at most")
    parser.add_argument("--worker", type=int, help="be one of the ranks, with so many threads")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.steps)
        return
    if not DATA.exists():
        raise errors.UserError(f"{DATA}: not found; get it with `dvc repro download`")
    rows = []
    for size, threads in CONTESTANTS:
        results = measure(size, threads, args.steps)
        for batch, (seconds, share) in zip(BATCHES, results, strict=True):
            numbers = f"{batch:,}", f"{seconds:.2f} s", f"{100 * share:.0f} %"
            rows.append([str(size), str(threads), *numbers])
    print(table(["Ranks", "Threads each", "Batch", "An epoch", "In the gather"], rows))
    print(f"{os.cpu_count()} cores, one host, PyTorch {torch.__version__}, {SHARDS} shards")


def measure(size: int, threads: int, steps: int) -> list[tuple[float, float]]:
    """Seconds an epoch and the share of the gather in them, for each size of a batch. One rank is
    a plain process."""
    launcher = ["torch.distributed.run", f"--nproc-per-node={size}", "-m"] if size > 1 else []
    module = ["-m", *launcher, __spec__.name, f"--worker={threads}", f"--steps={steps}"]
    process = subprocess.run(
        [sys.executable, *module], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        raise errors.UserError(f"{size} ranks failed, as shown above")
    return [(seconds, share) for seconds, share in json.loads(process.stdout.splitlines()[-1])]


def worker(threads: int, steps: int) -> None:
    """Train with each size of a batch; rank 0 prints what `measure` returns."""
    numerics.pin()
    gathering: list[float] = []
    setattr(ranks.DistributedTeam, "all_gather", timed(ranks.DistributedTeam.all_gather, gathering))  # noqa: B010 - typed so
    config = params.load(ROOT / "params.yaml", "model", NetworkConfig)
    cpu = torch.device("cpu")
    x, y = train.to_tensors(*mnist.load(DATA, "train"), config, cpu)
    network = Network(config)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    examples = Examples(x.__getitem__, y, label_smoothing=0, entropy=(0, 1))
    team = ranks.join({}, SHARDS, cpu, ROOT / "params.yaml")
    results = []
    with team.pool(threads) as pool:
        for size in BATCHES:
            batches = torch.split(train.shuffled(len(x), 1, 1), size)[:steps]
            gathering.clear()
            marks = [time.perf_counter()]
            for batch in batches:
                train_step(network, optimizer, examples, batch, SHARDS, pool)
                marks.append(time.perf_counter())
            step = median(after - before for before, after in pairwise(marks))
            share = sum(gathering) / (marks[-1] - marks[0])
            results.append((step * math.ceil(len(x) / size), share))
    if team.rank == 0:
        print(json.dumps(results))


if __name__ == "__main__":
    errors.run(main)
