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
        ("p.png", b"a", b"b", [f"MD5: committed {md5(b'a')}, computed {md5(b'b')}"]),
        ("p.png", b"", None, ["committed, but no stage writes it"]),
        ("p.png", None, b"", ["a stage writes it, but it is not committed"]),
    ],
)
def test_values_that_differ(
    path: str, before: bytes | None, after: bytes | None, lines: list[str]
) -> None:
    assert describe(path, before, after) == [f"{path}: {line}" for line in lines]


def test_a_lock_is_compared_by_its_whole_content_in_any_order() -> None:
    train = (
        "  train: {cmd: run, params: {p.yaml: {train: {lr: %s, mirrors: [%s]}}},"
        " outs: [%s, {path: w, hash: %s, md5: a}]}\n"
    )
    plot = "  plot: {deps: [{path: d.py, md5: d}], cmd: draw}\n"
    same = (1, "x, y", "{size: 1, path: f, md5: a}", "md5")
    before = f"schema: '2.0'\nstages:\n{train % same}{plot}".encode()
    other_order = (
        "  train: {outs: [{hash: md5, md5: a, path: w}, {path: f, md5: a, size: 1}], cmd: run,"
        " params: {p.yaml: {train: {mirrors: [x, y], lr: 1}}}}\n"
    )
    after = f"stages:\n{plot}{other_order}schema: '2.0'\n"
    assert describe("dvc.lock", before, after.encode()) == []
    forged = (2, "y, x", "{path: f, md5: a, size: 2}, {path: g, md5: a}", "md5-dos2unix")
    after = f"schema: '1.0'\nstages:\n{train % forged}"
    assert describe("dvc.lock", before, after.encode()) == [
        "dvc.lock: schema: committed 2.0, computed 1.0",
        "dvc.lock: stages.train.params.p.yaml.train.lr: committed 1, computed 2",
        "dvc.lock: stages.train.params.p.yaml.train.mirrors:"
        " committed ['x', 'y'], computed ['y', 'x']",
        "dvc.lock: stages.train.outs.f.size: committed 1, computed 2",
        "dvc.lock: stages.train.outs.w.hash: committed md5, computed md5-dos2unix",
        "dvc.lock: stages.plot.deps.d.py.path: committed d.py, computed none",
        "dvc.lock: stages.plot.deps.d.py.md5: committed d, computed none",
        "dvc.lock: stages.plot.cmd: committed draw, computed none",
        "dvc.lock: stages.train.outs.g.path: committed none, computed g",
        "dvc.lock: stages.train.outs.g.md5: committed none, computed a",
    ]
    twice = other_order.replace("outs: [", "outs: [{path: w}, ")
    (line,) = describe("dvc.lock", before, f"schema: '2.0'\nstages:\n{plot}{twice}".encode())[-1:]
    assert line.startswith("dvc.lock: stages.train.outs: committed none, computed [")
