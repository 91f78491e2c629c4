import os
from argparse import ArgumentParser

import pytest
import torch

from stages.common.errors import UserError
from stages.model import numerics
from tests.support import runner

REPORT = (
    "import torch; from stages.model import numerics;"
    " numerics.pin(); numerics.choose_device('cpu');"
    " print(torch.backends.cpu.get_cpu_capability()); print(torch.get_num_threads())"
)


def workers(*arguments: str) -> object:
    parser = ArgumentParser()
    numerics.add_workers_option(parser)
    return parser.parse_args(arguments).workers


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="this CPU has no AVX2"
)
def test_pin_fixes_the_instructions_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in numerics.SETTINGS:  # set in this process, which is pinned already
        monkeypatch.delenv(name, raising=False)
    process = runner.python("-c", REPORT)
    assert process.stdout.splitlines() == ["AVX2", "1"], process.stderr  # and no note


@pytest.mark.skipif(not torch.cpu.get_capabilities().get("avx512_f"), reason="no AVX-512 here")
def test_settings_that_come_too_late_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch has chosen AVX-512 by then."""
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    process = runner.python("-c", f"import torch; torch.rand(9).exp(); {REPORT}")
    note, capability, _ = process.stdout.splitlines()
    assert note == (
        "Note: the last bits of the weights may differ from dvc.lock: PyTorch does not use the"
        " settings of stages/model/numerics.py"
    )
    assert capability == "AVX512"


def test_a_cpu_without_avx2_is_left_alone_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": False})
    monkeypatch.setattr(numerics, "ARCHITECTURE", "x86_64")
    for name in numerics.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    numerics.pin()
    assert numerics.why_bits_may_differ("Linux", "x86_64", "") == "this CPU has no AVX2"
    assert not numerics.SETTINGS.keys() & os.environ.keys()


@pytest.mark.parametrize(
    ("system", "architecture"), [("Windows", "x86_64"), ("macOS", "aarch64"), ("Linux", "riscv64")]
)
def test_where_nobody_has_compared_the_bits_none_are_claimed(
    system: str, architecture: str
) -> None:
    reason = numerics.why_bits_may_differ(system, architecture, build="")
    assert reason == f"nobody has compared them on {system} {architecture}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"^params\.yaml: train\.device: cuda, but PyTorch sees 0 GPUs"
    ):
        numerics.choose_device("cuda")


def test_a_worker_computes_with_one_thread() -> None:
    torch.set_num_threads(2)
    try:
        with numerics.pool(2) as pool:
            assert pool.map(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("n", [0, 2, 7])
@pytest.mark.parametrize("workers", [1, 2, 9])
def test_the_results_come_in_the_order_of_the_items(workers: int, n: int) -> None:
    with numerics.pool(workers) as pool:
        assert pool.map(str, range(n)) == [str(item) for item in range(n)]


def test_workers_come_from_the_option_the_environment_or_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(numerics.WORKERS, raising=False)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert workers() == cores
    monkeypatch.setenv("PIPELINE_WORKERS", "3")
    assert workers() == 3
    assert workers("--workers=5") == 5
    monkeypatch.setenv("PIPELINE_WORKERS", "")
    assert workers() == cores


@pytest.mark.parametrize("text", ["0", "two", "1.5"])
def test_workers_must_be_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv("PIPELINE_WORKERS", text)  # the option goes the same way
    with pytest.raises(SystemExit) as end:
        workers()
    assert end.value.code == 2
    assert f"--workers: must be a whole number, 1 or more (got {text!r}" in capsys.readouterr().err
