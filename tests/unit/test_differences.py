import pytest

from tools.differences import describe


@pytest.mark.parametrize(
    ("path", "before", "after", "lines"),
    [
        ("m.json", b'{"a": {"b": 1}}', b'{"a": {"b": 2}}', ["a.b: committed 1, computed 2"]),
        ("m.json", b'{"a": 1}', b"{}", ["a: committed 1, computed none"]),
        ("m.json", b'{"a": 1}', b'{"a":  1}', ["the same values, written differently"]),
        (
            "p.csv",
            b"index,label\n0,3\n1,4\n",
            b"index,label\n0,3\n1,5\n2,6\n",
            [
                "index 1, label: committed 4, computed 5",
                "index 2, label: committed none, computed 6",
            ],
        ),
        ("p.png", b"a", None, ["MD5: committed 0cc175b9c0f1b6a831c399e269772661, computed none"]),
        (
            "m.json",
            b"[",
            b"{}",
            ["MD5: committed 815417267f76f6f460a4a61f9db75fdb, computed none"],
        ),
        (
            "p.csv",
            b"i,x\n" + b"".join(b"%d,0\n" % i for i in range(12)),
            b"i,x\n" + b"".join(b"%d,1\n" % i for i in range(12)),
            [*(f"i {i}, x: committed 0, computed 1" for i in range(10)), "2 more"],
        ),
    ],
)
def test_values_that_differ(
    path: str, before: bytes, after: bytes | None, lines: list[str]
) -> None:
    assert describe(path, before, after) == [f"{path}: {line}" for line in lines]


def test_a_lock_is_compared_by_its_content() -> None:
    train = "  train: {cmd: run, params: {p.yaml: {train: {lr: %s}}}, outs: [{path: w, md5: %s}]}\n"
    plot = "  plot: {cmd: draw, deps: [{path: d.py, md5: d}]}\n"
    before = "stages:\n" + train % (1, "a") + plot
    assert (
        describe("dvc.lock", before.encode(), f"stages:\n{plot}{train % (1, 'a')}".encode()) == []
    )
    after = "stages:\n" + train.replace("run", "go") % (2, "b")
    assert describe("dvc.lock", before.encode(), after.encode()) == [
        "dvc.lock: train: w: committed a, computed b",
        "dvc.lock: train: train.lr: committed 1, computed 2",
        "dvc.lock: train: command: committed run, computed go",
        "dvc.lock: plot: d.py: committed d, computed none",
        "dvc.lock: plot: command: committed draw, computed none",
    ]
