"""A package index on loopback that serves small wheels, and servers that are no index."""

import contextlib
import functools
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def wheel(folder: Path, name: str, version: str, files: int = 1) -> Path:
    """Write the wheel of a package with some files and the command `NAME-command`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    information = f"{name}-{version}.dist-info"
    content = {f"{name}/module{n}.py": f"number = {n}\n" for n in range(files)} | {
        f"{name}/__init__.py": f"def main() -> None:\n    print({version!r})\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": f"[console_scripts]\n{name}-command = {name}:main\n",
    }
    record = f"{information}/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            archive.writestr(member, text)
        archive.writestr(record, "".join(f"{member},,\n" for member in [*content, record]))
    return path


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder: its listings are what pip reads as an index."""

    def log_message(self, *_arguments: object) -> None:
        """Nothing: the test's output is for the test."""


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder with one folder of wheels a package; the index's address."""
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:  # or the thread would go round and round on a closed socket
            server.shutdown()


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """A server that accepts a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def unknown() -> Iterator[str]:
    """A host without an address."""
    yield "http://index.invalid"


@contextlib.contextmanager
def slow() -> Iterator[str]:
    """A server that sends a byte of its answer each second, so that no single wait is long."""
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nName: ")
                while not stop.wait(1):
                    connection.sendall(b".")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=drip, args=[server], daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stop.set()
