import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.common import tables
from stages.common.errors import UserError
from stages.common.tables import EpochScores, History, Prediction, Table
from tests.support import runner

ROWS: dict[Table, list[tuple[Any, ...]]] = {
    History: [History(1, 300, 300, 0.001, 1.25, 0.5), History(1, 600, 600, 0.001, 0.5, 0.875)],
    EpochScores: [EpochScores(1, 0.5, 0.75, None, None), EpochScores(2, 0.25, 1.0, 0.5, 0.75)],
    Prediction: [Prediction(0, 7, 7, 0.5), Prediction(1, 2, 3, 0.75)],
}


@pytest.mark.parametrize("table", ROWS)
def test_what_is_written_is_read(table: Table) -> None:
    frame = tables.decode(table, tables.encode(table, ROWS[table]))
    assert tuple(frame.columns) == table._fields
    rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
    assert [tuple(row) for row in rows] == ROWS[table]


def test_floats_have_six_decimals_and_none_is_an_empty_cell() -> None:
    rows = [EpochScores(3, 1 / 3, 0.5, None, None)]
    assert tables.encode(EpochScores, rows) == (
        b"epoch,loss,accuracy,validation_loss,validation_accuracy\n3,0.333333,0.500000,,\n"
    )


def test_columns_that_are_asked_for_are_read_in_that_order_and_others_are_ignored() -> None:
    content = b"note,loss,epoch\nx,0.5,1\ny,0.25,2\n"
    frame = tables.decode(History, content, ["epoch", "loss"])
    assert frame.to_dict("list") == {"epoch": [1, 2], "loss": [0.5, 0.25]}
    assert frame["epoch"].dtype == np.int64


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("", "no rows"),
        ("0,x,1,0.5", "invalid literal for int()"),
        ("0,1,1,", "a row has no confidence"),
        ("1,1,1,0.5", "the indices are not 0, 1, 2, ..."),
        ("0,256,1,0.5", "label is not a class from 0 to 255"),
    ],
)
def test_rows_that_cannot_be_are_refused(rows: str, reason: str) -> None:
    content = f"index,label,predicted,confidence\n{rows}\n"
    with pytest.raises(ValueError, match=re.escape(reason)):
        tables.decode(Prediction, content.encode())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"index,label,predicted\n0,1,1\n", None])
def test_another_file_or_none_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        tables.read(path, Prediction)
    (line,) = str(error.value).splitlines()
    fault = "not found" if content is None else "not the expected table ("
    assert line.startswith(f"{path}: {fault}")


def test_writing_does_not_load_pandas() -> None:
    code = (
        "import sys; from stages.common import tables; tables.encode(tables.History, []);"
        " sys.exit('pandas' in sys.modules)"
    )
    assert runner.python("-c", code).returncode == 0


def test_confusions_are_counted_by_label_and_prediction() -> None:
    frame = tables.decode(Prediction, tables.encode(Prediction, ROWS[Prediction]))
    counts = tables.count_confusions(frame, 10)
    assert counts.shape == (10, 10)
    assert {cell: n for cell, n in np.ndenumerate(counts) if n} == {(7, 7): 1, (2, 3): 1}
