"""Measure how training scales with the number of processes, for several batch sizes.

    python -m benchmarks.scaling [--steps N]

It trains as the stage does, with the default network and four shards: in one process, and in
several that torchrun starts on this host. The time of an epoch is the median time of a step, times
the number of steps.
"""

import json
import math
import os
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

from benchmarks.processes import ROOT, data_folder, measure
from stages import train
from stages.common import errors, mnist, params
from stages.model import numerics
from stages.model.network import Network, NetworkConfig
from stages.training import ranks
from stages.training.optimizer import SGD
from stages.training.step import Examples, smoothed_targets, train_step
from tools.markdown import table

Gather = Callable[[ranks.DistributedTeam, Tensor], Tensor]

RESULTS = "Results: "  # in front of the line that a worker prints
BATCHES = 50, 500, 5_000
SHARDS = 4
CONTESTANTS = (1, 1), (1, 2), (2, 1), (4, 1)  # ranks, threads of each


def timed(gather: Gather, seconds: list[float]) -> Gather:
    """Return `gather`, but it also appends the seconds of each call to `seconds`.

    A call includes the wait for the slowest rank.
    """

    def timed_gather(team: ranks.DistributedTeam, content: Tensor) -> Tensor:
        start = time.perf_counter()
        contents = gather(team, content)
        seconds.append(time.perf_counter() - start)
        return contents

    return timed_gather


def main() -> None:
    """Train with each number of ranks; print the table."""
    parser = ArgumentParser(description="Measure how training scales with processes.")
    parser.add_argument(
        "--steps", type=int, default=200, help="at most so many steps for each batch size"
    )
    parser.add_argument("--worker", type=int, help="run as one of the ranks, with so many threads")
    args = parser.parse_args()
    if args.worker:
        worker(args.worker, args.steps)
        return
    rows = []
    for size, threads in CONTESTANTS:
        results = train_ranks(size, threads, args.steps)
        for batch, (seconds, share) in zip(BATCHES, results, strict=True):
            numbers = f"{batch:,}", f"{seconds:.2f} s", f"{100 * share:.0f} %"
            rows.append([str(size), str(threads), *numbers])
    print(table(["Ranks", "Threads each", "Batch", "An epoch", "In the gather"], rows))
    print(f"{os.cpu_count()} cores, one host, PyTorch {torch.__version__}, {SHARDS} shards")


def train_ranks(size: int, threads: int, steps: int) -> list[tuple[float, float]]:
    """Start `size` ranks, each with so many threads.

    Returns, for each batch size, the seconds an epoch takes and the share of the gather in them.
    One rank is a plain process; torchrun starts several.
    """
    launcher = ["torch.distributed.run", f"--nproc-per-node={size}", "-m"] if size > 1 else []
    module = ["-m", *launcher, __spec__.name, f"--worker={threads}", f"--steps={steps}"]
    output = measure([sys.executable, *module], ROOT).output
    (line,) = [line for line in output.splitlines() if line.startswith(RESULTS)]
    return [(seconds, share) for seconds, share in json.loads(line.removeprefix(RESULTS))]


def worker(threads: int, steps: int) -> None:
    """Train with each batch size; rank 0 prints what `train_ranks` returns."""
    numerics.pin()
    gathering: list[float] = []
    setattr(ranks.DistributedTeam, "all_gather", timed(ranks.DistributedTeam.all_gather, gathering))  # noqa: B010 - typed so
    config = params.load(ROOT / "params.yaml", "model", NetworkConfig)
    cpu = torch.device("cpu")
    x, y = train.to_tensors(*mnist.load(data_folder(), "train"), config, cpu)
    network = Network(config)
    optimizer = SGD(network.parameters(), lr=0.001, momentum=0.9)
    examples = Examples(x.__getitem__, y, smoothed_targets(0, x.device), entropy=(0, 1))
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
        print(RESULTS + json.dumps(results))


if __name__ == "__main__":
    errors.run(main)
