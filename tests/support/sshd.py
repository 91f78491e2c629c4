"""An OpenSSH server on loopback, with keys of its own, for the tests of remotes."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HOST = "127.0.0.1"
SECONDS = 20  # until the server must answer
SERVER_CONFIG = """\
ListenAddress {host}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
# Off because everyone may write to /tmp, above the keys.
StrictModes no
PidFile none
Subsystem sftp internal-sftp
"""
# DVC does not check the server's key, so its connection goes through OpenSSH, which does.
CLIENT_CONFIG = """\
Host {host}
    Port {port}
    User {user}
    IdentityFile {key}
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    StrictHostKeyChecking yes
    UserKnownHostsFile {known_hosts}
    ProxyCommand {proxy}
"""


@dataclass
class Server:
    """A running server; its folder holds the keys, and what people store on it."""

    folder: Path
    port: int

    def url(self, name: str) -> str:
        """The address of a DVC remote on the server."""
        return f"ssh://{HOST}{self.folder / name}"

    def enrol(
        self,
        home: Path,
        key: Path | None = None,
        known_hosts: Path | None = None,
        port: int | None = None,
        proxy: str = "{ssh}",
    ) -> None:
        """Write a person's `~/.ssh/config`, a correct one unless the arguments say otherwise.
        `proxy` may wrap the command `{ssh}` in another."""
        config = home / ".ssh" / "config"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            CLIENT_CONFIG.format(
                host=HOST,
                port=port or self.port,
                user=psutil.Process().username(),
                key=key or self.folder / "user_key",
                known_hosts=known_hosts or self.folder / "known_hosts",
                # -F, since OpenSSH does not look at $HOME.
                proxy=proxy.format(ssh=f"ssh -F {config} -o ProxyCommand=none -W {HOST}:%p %h"),
            )
        )


def make_key(path: Path) -> None:
    """A pair of keys: `path` and `path.pub`."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)


def find() -> str | None:
    """The full path of sshd: it starts by no other, and is seldom on a user's PATH."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def serve(program: str, folder: Path) -> Iterator[Server]:
    """A server for this user, on a free port, until the end of the `with`."""
    for name in ("host_key", "user_key"):
        make_key(folder / name)
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {host_key}")
    config = folder / "sshd_config"
    config.write_text(SERVER_CONFIG.format(host=HOST, port=port, folder=folder))
    if psutil.Process().username() == "root":
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs it as root; systemd would make it
    command = [program, "-f", str(config), "-E", str(folder / "log")]
    forgiving = ["-o", "PerSourcePenalties=no"]  # it would refuse a client after some failures
    if subprocess.run([*command, *forgiving, "-t"], check=False).returncode != 0:
        forgiving = []  # OpenSSH before 9.8 has no penalties and no such option
    process = subprocess.Popen([*command, *forgiving, "-D"])
    try:
        wait_for(process, port, folder / "log")
        yield Server(folder, port)
    finally:
        process.terminate()
        process.wait()


def wait_for(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    """Return as soon as the server answers."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"sshd does not answer: {log.read_text()}")
