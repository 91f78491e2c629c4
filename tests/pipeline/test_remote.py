"""Data and models between people, through a real OpenSSH server and a bare git repository. People
set up what docs/sharing.md says. tests/real/test_pages.py follows the rest of that page."""

import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support import posix
from tests.support.project import Project
from tests.support.runner import digests

pytestmark = posix.only  # OpenSSH as on Linux, and its sh

MODEL = "models/model.safetensors"
HOST = "127.0.0.1"
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
# DVC does not check the server's key, so its connection goes through OpenSSH, which does. It gets
# the file's name, since it does not look at $HOME.
CLIENT_CONFIG = """\
Host {host}
    Port {port}
    User {user}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    StrictHostKeyChecking yes
    UserKnownHostsFile {folder}/known_hosts
    ProxyCommand ssh -F ~/.ssh/config -o ProxyCommand=none -W {host}:%p %h
"""


@dataclass
class Server:
    """A running OpenSSH server; its folder holds the keys, and what people store on it."""

    folder: Path
    port: int

    def url(self, name: str) -> str:
        """The address of a DVC remote on the server."""
        return f"ssh://{HOST}{self.folder / name}"


@dataclass
class Person(Project):
    """Someone with a home folder of their own, and in it a clone."""

    server: Server

    def environment(self) -> dict[str, str]:
        """Settings of ssh, git and DVC are this person's own."""
        return super().environment() | {"HOME": str(self.folder.parent)}

    def configure_ssh(self, right: str = "", wrong: str = "") -> Path:
        """Write `~/.ssh/config`, a correct one unless there is something wrong."""
        config = self.folder.parent / ".ssh" / "config"
        config.parent.mkdir(parents=True, exist_ok=True)
        content = CLIENT_CONFIG.format(
            host=HOST, user=psutil.Process().username(), **vars(self.server)
        )
        content = content.replace("~", str(self.folder.parent)).replace(right, wrong)
        config.write_text(content)
        return config

    def invite(self, name: str) -> "Person":
        """A colleague with a new clone, which holds what is in git and nothing else."""
        person = Person(self.folder.parents[1] / name / "project", self.server)
        person.configure_ssh()
        self("git", "clone", "--quiet", "../../origin.git", str(person.folder))
        return person


def make_key(path: Path) -> str:
    """A pair of keys, `path` and `path.pub`; the public one."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for this user, on a free port."""
    # sshd starts by its full path alone, and is seldom on a user's PATH.
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("there is no sshd: install openssh-server")
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    make_key(folder / "user_key")
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {make_key(folder / 'host_key')}")
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
        while socket.socket().connect_ex((HOST, port)) != 0:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        yield Server(folder, port)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def alice(server: Server, reproduced: Project, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Someone who has pushed the reproduced project to the server and to a git repository."""
    folder = tmp_path_factory.mktemp("team")
    alice = Person(folder / "alice" / "project", server)
    alice.configure_ssh()
    shutil.copytree(reproduced.folder, alice.folder, symlinks=True)
    origin = str(folder / "origin.git")
    alice("git", "init", "--quiet", "--bare", "--initial-branch=main", origin)
    alice("git", "remote", "add", "origin", origin)
    alice("dvc", "remote", "add", "--default", "shared", server.url("store"))
    alice("dvc", "remote", "modify", "shared", "verify", "true")
    alice("git", "commit", "--quiet", "--message=Share", ".dvc/config")
    alice("git", "push", "--quiet", "origin", "main")
    alice("dvc", "push")
    return alice


def test_a_colleague_pulls_data_and_models_and_has_nothing_to_run(alice: Person) -> None:
    bob = alice.invite("bob")
    bob("dvc", "pull")
    for name in ("data/MNIST/raw", "models"):
        assert digests(bob.folder / name) == digests(alice.folder / name)
    assert bob.repro() == []


@pytest.mark.slow
def test_nothing_is_pulled_from_a_server_with_another_key_and_ssh_says_why(alice: Person) -> None:
    eve = alice.invite("eve")
    known = eve.folder.parent / "known_hosts"
    known.write_text(f"[{HOST}]:{eve.server.port} {make_key(eve.folder.parent / 'another')}")
    config = eve.configure_ssh(str(eve.server.folder / "known_hosts"), str(known))
    process = eve.run("dvc", "pull")
    assert process.returncode != 0
    assert "failed to connect to ssh" in process.stdout
    assert "Traceback" not in process.stdout
    assert not (eve.folder / MODEL).exists()
    assert "Host key verification failed" in eve.run("ssh", "-F", str(config), HOST, "true").stdout


@pytest.mark.slow
def test_a_damaged_object_is_refused_and_can_be_replaced(alice: Person) -> None:
    dave = alice.invite("dave")
    model = (alice.folder / MODEL).read_bytes()
    md5 = hashlib.md5(model, usedforsecurity=False).hexdigest()
    name = f"files/md5/{md5[:2]}/{md5[2:]}"
    damaged = alice.server.folder / "store" / name
    damaged.write_bytes(model[:-1] + b"?")
    process = dave.run("dvc", "pull")
    assert process.returncode != 0
    assert "Checkout failed for following targets" in process.stdout
    assert MODEL in process.stdout
    assert not (dave.folder / MODEL).exists()
    assert not (dave.folder / ".dvc" / "cache" / name).exists()

    damaged.write_bytes(model)
    dave("dvc", "pull")
    assert (dave.folder / MODEL).read_bytes() == model
