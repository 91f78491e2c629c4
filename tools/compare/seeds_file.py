"""The file that `python -m tools.seeds` writes: runs of two recipes, with the same seeds.

It names its two sides by what they train, not by a branch or a commit. So any two revisions with
these recipes find it, also after a rebase.
"""

from dataclasses import asdict, dataclass

from pydantic import PositiveInt, TypeAdapter

from stages.common import files
from stages.common.errors import UserError
from tools.compare.evidence import ACCURACY, Evidence, recipe_differences
from tools.compare.groups import Group, SeedComparison, compare_groups
from tools.git import Revision, find

SEEDS = "evidence/seeds.json"  # no stage writes it, so it is not in dvc.yaml


@dataclass(frozen=True)
class Seeds:
    """The content of the file."""

    n: PositiveInt  # test images
    base: Group
    head: Group


@dataclass(frozen=True)
class Recipes:
    """What is known about the recipes of two revisions."""

    same: bool  # they may differ in the seed
    seeds: SeedComparison | None  # by the file, if it is about these two
    unfit: dict[str, list[str]]  # by side: what the file has otherwise; empty if there is no file


_SEEDS = TypeAdapter(Seeds)


def compare_recipes(base: Evidence, head: Evidence, seeds: Seeds | None) -> Recipes:
    """What the file of `head` says of two revisions."""
    same = not recipe_differences(base.recipe, head.recipe)
    if same or seeds is None:
        return Recipes(same, None, {})
    unfit = {
        side: names
        for side, evidence, group in (("base", base, seeds.base), ("head", head, seeds.head))
        if (names := recipe_differences(evidence.recipe, group.recipe))
    }
    fits = not unfit
    return Recipes(same, compare_groups(seeds.base, seeds.head, seeds.n) if fits else None, unfit)


def load(revision: Revision) -> Seeds | None:
    """The file of a revision, if it has one.

    Raises:
        UserError: it is not what the tool writes.
    """
    content = find(revision, [SEEDS]).get(SEEDS)
    try:
        return None if content is None else parse(content)
    except ValueError as error:  # pydantic's, too
        reason = " ".join(str(error).split())
        raise UserError(
            f"{revision}: {SEEDS}: not as expected ({reason}); make it again with `make seeds`, or"
            " remove it"
        ) from None


def encode(seeds: Seeds) -> bytes:
    """The file's content."""
    return files.canonical_json(asdict(seeds))


def parse(content: bytes) -> Seeds:
    """The same from its content.

    Raises:
        ValueError: it is something else.
    """
    seeds = _SEEDS.validate_json(content)
    for side, group in (("base", seeds.base), ("head", seeds.head)):
        if len({run.seed for run in group.runs}) < max(2, len(group.runs)):
            raise ValueError(f"{side} needs two or more runs, each with its own seed")
        if {run.seed for run in group.runs} != {run.seed for run in seeds.base.runs}:
            raise ValueError("both sides need the same seeds")
        if not all(ACCURACY in run.metrics for run in group.runs):
            raise ValueError(f"a run of {side} has no {ACCURACY}")
    return seeds
