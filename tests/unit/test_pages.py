"""The numbers in README.md are those of the committed run."""

import json
import re
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()


def test_every_parameter_has_a_row_with_its_default() -> None:
    params = YAML(typ="safe").load(ROOT / "params.yaml")
    params["train"] |= {f"augment.{k}": v for k, v in params["train"].pop("augment").items()}
    for group, values in params.items():
        for key, value in values.items():
            (row,) = [line for line in README if line.startswith(f"| `{group}.{key}` |")]
            if isinstance(value, int | float):
                assert row.split("|")[2].strip() == json.dumps(value)


def test_the_metrics_on_the_first_screen_are_the_committed_ones() -> None:
    metrics = json.loads((ROOT / "metrics" / "metrics.json").read_text())
    for group, values in metrics.items():
        for key, value in values.items():
            number = str(round(value, 5))  # as `dvc metrics diff` shows it
            shown = ["metrics/metrics.json", f"{group}.{key}", number, number, "0.0"]
            assert shown in [line.split() for line in README]


def test_the_losses_beside_the_notebook_are_the_committed_ones() -> None:
    history = pd.read_csv(ROOT / "metrics" / "history.csv")
    table = [re.match(r"\| (\d), (\d+) \| 0\.\d{3} \| (0\.\d{3}) \|", line) for line in README]
    rows = [match.groups() for match in table if match]
    assert len(rows) == 10
    for epoch, batch, shown in rows:
        at = (history["epoch"] == int(epoch)) & (history["batch"] == int(batch))
        assert shown == f"{history.loc[at, 'loss'].item():.3f}"


def test_the_last_loss_is_within_a_fifth_of_the_notebooks() -> None:
    history = pd.read_csv(ROOT / "metrics" / "history.csv")
    assert abs(history["loss"].iloc[-1] / 0.065 - 1) < 0.2
