"""Say which digit a picture shows, with the trained weights.

Reads pictures (PNG, JPEG or WebP: files, folders, or standard input as `-`) and the weights, of
the workspace or of any revision. Prints a row for each picture: the digit, how sure the network
is, and the second most probable digit. Says on standard error which pictures look like more than
one digit (they get a row all the same), and which could not be read.

    python -m tools.predict docs/digits [--json] [--show DIR] [--rev v1.0.0]
"""

import io
import json
import struct
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from stages.common import files
from stages.common.errors import UserError, printable, run
from stages.model import numerics, weights
from stages.model.network import Network
from stages.model.scoring import LogProbabilities, classify
from tools import trained
from tools.dvc_files import MODEL, check, read_pipeline
from tools.git import WORKSPACE, resolve
from tools.prepare import MAX_SIDE, Grey, Prepared, prepare
from tools.terminal import columns

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}  # of the files that are taken from a folder
STDIN = "-"
BATCH = 1000  # images


class Guess(NamedTuple):
    """What the network says of one picture."""

    picture: str
    digit: int
    confidence: float  # the probability that the network gives this digit
    runner_up: int
    runner_up_confidence: float
    several: bool  # the picture looks like more than one digit; the network knows only one


def main() -> None:
    """Load the weights; prepare each picture; classify them all; print."""
    args = parse_arguments()
    numerics.pin()
    network = load_network(args.model, args.rev)

    pictures = list_pictures(args.pictures)
    names: list[str] = []
    prepared: list[Prepared] = []
    for name in pictures:
        try:
            picture = prepare(read(name))
        except UserError as error:
            complain(name, str(error))
            continue
        if picture.several:
            complain(name, "looks like more than one digit; crop it to one")
        names.append(name)
        prepared.append(picture)

    guesses: list[Guess] = []
    if prepared:
        images, several = zip(*prepared, strict=True)
        with numerics.pool(args.workers) as pool:
            outputs = classify(network, np.stack(images)[..., np.newaxis], BATCH, pool)
        guesses = list(map(rank, names, outputs, several))
        if args.show:
            save_pictures(args.show, images, guesses)
    if args.json:
        print(json.dumps([guess._asdict() for guess in guesses], indent=2))
    elif guesses:
        print(as_table(guesses))
    if len(names) < len(pictures):
        sys.exit(1)


def parse_arguments() -> Namespace:
    """The command line."""
    parser = ArgumentParser(prog="python -m tools.predict", description="Classify pictures.")
    parser.add_argument("pictures", nargs="+", help="files, folders, or - for standard input")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--show", type=Path, metavar="DIR", help="save what the network saw there")
    parser.add_argument("--model", type=Path, help="weights (default: those that dvc.yaml names)")
    parser.add_argument("--rev", help="take the weights of this commit, tag, branch or experiment")
    numerics.add_workers_option(parser)
    return parser.parse_args()


def load_network(path: Path | None, rev: str | None) -> Network:
    """The network in a file, by default the one that dvc.yaml names. It is that of the workspace,
    or that of another revision, from DVC's cache or its remote.

    Raises:
        UserError: there is no such revision, or no network in that file, or DVC cannot get it, or
            it is not the one in dvc.lock.
    """
    revision = resolve(rev) if rev else WORKSPACE
    if revision == WORKSPACE:
        return weights.load(path) if path else trained.load()
    path = path or Path(read_pipeline(revision).path(MODEL))
    import dvc.api  # noqa: PLC0415 - it takes a second; only --rev needs it
    from dvc.exceptions import DvcException, PathMissingError  # noqa: PLC0415

    try:
        content = dvc.api.read(str(path), rev=revision.commit, mode="rb")
    except PathMissingError:
        raise UserError(
            f"{path} of {revision}: in neither DVC's cache nor a remote; get it with `dvc pull`"
            " or `dvc exp pull`, or check that revision out and make it with `dvc repro train`"
        ) from None
    except (DvcException, OSError) as error:
        raise UserError(f"{path} of {revision}: {error}") from None
    check(content, path.as_posix(), revision)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        return weights.load(copy)


def list_pictures(names: Sequence[str]) -> list[str]:
    """The names, with each folder replaced by the pictures in it and in its folders, in order.
    Says how many other files a folder holds; hidden files do not count.

    Raises:
        UserError: a folder holds no picture.
    """
    pictures: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            pictures.append(name)
            continue
        inside = [path for path in sorted(Path(name).rglob("*")) if path.is_file()]
        found = [path for path in inside if path.suffix.lower() in SUFFIXES]
        if not found:
            raise UserError(f"{name}: holds no picture ({', '.join(sorted(SUFFIXES))})")
        pictures += map(str, found)
        others = {path for path in inside if not path.name.startswith(".")} - {*found}
        if n := len(others):
            complain(name, f"{n:,} file{'s' * (n > 1)} skipped, not PNG, JPEG or WebP")
    return pictures


def read(name: str) -> Image.Image:
    """The picture in a file or on standard input, turned as its EXIF data say. A large JPEG is read
    at a half, a quarter or an eighth of its size, which is quicker.

    Raises:
        UserError: it cannot be read, is not a picture, is damaged, or has too many pixels.
    """
    source = io.BytesIO(sys.stdin.buffer.read()) if name == STDIN else name
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damage that does not matter
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                picture.draft(None, (2 * MAX_SIDE, 2 * MAX_SIDE))
                return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        raise UserError("not a PNG, JPEG or WebP picture") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # what Pillow raises
        reason = getattr(error, "strerror", None)  # the system's, such as a missing file
        raise UserError(reason or f"damaged: {error}") from None


def rank(picture: str, outputs: LogProbabilities, several: bool) -> Guess:
    """The two most probable digits of a picture, from the network's outputs (10,)."""
    order = np.argsort(-outputs, kind="stable")[:2]
    confidence = np.exp(outputs[order].astype(np.float64)).round(6)
    (digit, runner_up), (sure, less_sure) = order.tolist(), confidence.tolist()
    return Guess(picture, digit, sure, runner_up, less_sure, several)


def as_table(guesses: Sequence[Guess]) -> str:
    """A row for each picture, for people."""
    rows = [["picture", "digit", "confidence", "runner-up"]]
    rows += [
        [name, str(digit), f"{100 * sure:.2f} %", f"{second} ({100 * less_sure:.2f} %)"]
        for name, digit, sure, second, less_sure, _ in guesses
    ]
    return columns(rows, "<>><")


def complain(name: str, problem: str) -> None:
    """Say on standard error what is wrong with a picture or a folder."""
    print(f"{printable(name)}: {problem}", file=sys.stderr)


def save_pictures(folder: Path, images: Sequence[Grey], guesses: Sequence[Guess]) -> None:
    """What the network saw, as `ROW-NAME-as-DIGIT.png`: 28x28 pixels, to be classified again."""
    for row, (image, guess) in enumerate(zip(images, guesses, strict=True), start=1):
        picture = io.BytesIO()
        Image.fromarray(image).save(picture, "PNG")
        name = f"{row:04}-{Path(guess.picture).stem}-as-{guess.digit}.png"
        files.write(folder / name, picture.getvalue())


if __name__ == "__main__":
    run(main)
