import os
from argparse import ArgumentParser

import pytest
import torch

from stages.model import numerics
from tests.support import runner


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
    process = runner.python(
        "-c",
        "from stages.model import numerics; import torch; print(numerics.pin(),"
        " torch.backends.cpu.get_cpu_capability(), torch.get_num_threads())",
    )
    assert process.stdout.split() == ["True", "AVX2", "1"]


@pytest.mark.parametrize("threads_elsewhere", [1, 2])
def test_a_worker_computes_with_one_thread(threads_elsewhere: int) -> None:
    torch.set_num_threads(threads_elsewhere)
    try:
        with numerics.pool(2) as pool:
            assert [pool.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
    finally:
        torch.set_num_threads(1)


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


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
@pytest.mark.parametrize("where", ["option", "environment"])
def test_workers_must_be_a_whole_number(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, where: str
) -> None:
    if where == "environment":
        monkeypatch.setenv("PIPELINE_WORKERS", text)
    with pytest.raises(SystemExit) as end:
        workers(*([f"--workers={text}"] if where == "option" else []))
    assert end.value.code == 2
    assert (
        f"argument --workers: must be a whole number, 1 or more (got {text!r};"
        " see also $PIPELINE_WORKERS)"
    ) in capsys.readouterr().err
