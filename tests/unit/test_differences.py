import pytest

from tools.differences import describe
from tools.dvc_files import md5

TWELVE = {n: "\n".join(["i,x", *(f"{i},{n}" for i in range(12))]).encode() for n in (0, 1)}


@pytest.mark.parametrize(
    ("path", "before", "after", "lines"),
    [
        ("m.json", b'{"a": {"b": 1}}', b'{"a": {"b": 2}}', ["a.b: committed 1, computed 2"]),
        ("m.json", b'{"a": 1}', b"{}", ["a: committed 1, computed none"]),
        ("m.json", b'{"a": 1}', b'{"a":  1}', ["the same values, written differently"]),
        (
            "p.csv",
            TWELVE[0],
            TWELVE[1],
            [*(f"line {i + 2}: committed {i},0, computed {i},1" for i in range(10)), "2 more"],
        ),
        ("p.png", b"a", None, [f"MD5: committed {md5(b'a')}, computed none"]),
    ],
)
def test_values_that_differ(
    path: str, before: bytes, after: bytes | None, lines: list[str]
) -> None:
    assert describe(path, before, after) == [f"{path}: {line}" for line in lines]


def test_a_lock_is_compared_by_its_content() -> None:
    train = "  train: {cmd: run, params: {p.yaml: {train: {lr: %s}}}, outs: [{path: w, md5: %s}]}\n"
    plot = "  plot: {cmd: draw, deps: [{path: d.py, md5: d}]}\n"
    before = ("stages:\n" + train % (1, "a") + plot).encode()
    assert describe("dvc.lock", before, f"stages:\n{plot}{train % (1, 'a')}".encode()) == []
    after = "stages:\n" + train.replace("run", "go") % (2, "b")
    assert describe("dvc.lock", before, after.encode()) == [
        "dvc.lock: train: w: committed a, computed b",
        "dvc.lock: train: train.lr: committed 1, computed 2",
        "dvc.lock: train: command: committed run, computed go",
        "dvc.lock: plot: d.py: committed d, computed none",
        "dvc.lock: plot: command: committed draw, computed none",
    ]
