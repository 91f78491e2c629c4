"""Measure how much of a shard's time PyTorch's operators take: what is left is Python and autograd.

    python -m benchmarks.kernels [--quick]

One thread computes the same shard of the default recipe again and again: first alone, then under
PyTorch's profiler, which sees the time inside each operator and costs some itself.
"""

import time
from argparse import ArgumentParser
from collections.abc import Mapping
from functools import partial

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.processes import ROOT, data_folder
from stages import train
from stages.common import errors, mnist, params
from stages.model import numerics
from stages.model.network import NetworkConfig
from stages.training import augment
from stages.training.step import Examples, shard_sums, smoothed_targets
from tools.markdown import table

SHOWN = 8  # operators


def main() -> None:
    """Print the table of the operators beside the time of a shard."""
    parser = ArgumentParser(description="Measure the operators of a shard.")
    parser.add_argument("--quick", action="store_true", help="few repeats: does it work?")
    repeats = 20 if parser.parse_args().quick else 1000

    numerics.pin()
    p = params.load(ROOT / "params.yaml", "train", train.TrainParams)
    config = params.load(ROOT / "params.yaml", "model", NetworkConfig)
    x, y = train.to_tensors(*mnist.load(data_folder(), "train"), config, torch.device("cpu"))
    network, _ = train.initial_state(p, config, x.device)
    examples = Examples(
        augment.transform(x, p.augment, p.seed, epoch=1),
        y,
        smoothed_targets(p.label_smoothing, x.device),
        (p.seed, 1),
    )
    batch = train.shuffled(len(x), p.seed, epoch=1)[: p.batch_size]
    shard = batch.tensor_split(p.shards)[0]
    compute = partial(shard_sums, network, examples, p.batch_size, shard)

    alone = seconds(compute, repeats)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        whole = seconds(compute, repeats)
    operators = {
        event.key: event.self_cpu_time_total / 1e6 / repeats
        for event in profiled.key_averages()
        if event.key.startswith("aten::")
    }
    print(
        f"One thread, a shard of {len(shard)} images: {1000 * alone:.2f} ms; under the profiler:\n"
    )
    print(shares(operators, whole))


def seconds(compute: partial[list[torch.Tensor]], repeats: int) -> float:
    """The mean time of a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        compute()
    return (time.perf_counter() - start) / repeats


def shares(operators: Mapping[str, float], whole: float) -> str:
    """The table: the longest operators, the others together, and what is left of the shard.

    Args:
        operators: seconds inside each, without the operators that it calls
        whole: seconds of the shard, under the profiler
    """
    longest = sorted(operators, key=lambda name: -operators[name])[:SHOWN]
    others = sum(operators.values()) - sum(operators[name] for name in longest)
    rows = [(name.removeprefix("aten::"), operators[name]) for name in longest]
    rows += [
        ("all other operators", others),
        ("Python, autograd, profiler", whole - sum(operators.values())),
    ]
    rows += [("the shard", whole)]
    cells = [[name, f"{1000 * time:.3f}", f"{100 * time / whole:.0f} %"] for name, time in rows]
    return table(["Operator", "ms", "Share"], cells)


if __name__ == "__main__":
    errors.run(main)
