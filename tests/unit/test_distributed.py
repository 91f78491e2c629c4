from tests.support import runner


def test_help_says_how_to_start_it() -> None:
    process = runner.python("-m", "tools.distributed", "--help")
    assert process.returncode == 0
    assert process.stdout.startswith("usage: torchrun --nproc-per-node 2 -m tools.distributed [DVC")
    assert "(default: repro)" in process.stdout


def test_without_torchrun_it_says_how_to_start_it() -> None:
    process = runner.python("-m", "tools.distributed")
    assert process.returncode == 1
    assert process.stderr == "start it as `torchrun --nproc-per-node 2 -m tools.distributed`\n"
