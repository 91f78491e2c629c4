"""Data, models and experiments between people, through a real OpenSSH server and a bare git
repository. People set up what the documentation says."""

import csv
import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch

from stages.common import mnist
from stages.model import weights
from tests.support import posix, sshd
from tests.support.project import ENVIRONMENT, Project
from tests.support.runner import DATA, digests
from tools.processes import kill

pytestmark = posix.only  # OpenSSH as on Linux, and its sh
MODEL = "models/model.safetensors"
STORE = "store"  # the folder on the server


@dataclass
class Person(Project):
    """Someone with a clone and a home folder of their own."""

    home: Path

    def environment(self) -> dict[str, str]:
        """Settings of ssh, git and DVC are this person's own."""
        return super().environment() | {"HOME": str(self.home)}

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command."""
        environment = ENVIRONMENT | {"HOME": str(self.home)}
        return subprocess.Popen(command, cwd=self.folder, env=environment)


@dataclass
class Team:
    """A bare git repository, an SSH server, and Alice, who has pushed to both."""

    folder: Path
    server: sshd.Server
    alice: Person

    def join(self, name: str) -> Person:
        """A person with a new clone, which holds what is in git and nothing else."""
        person = Person(self.folder / name / "project", self.folder / name)
        self.server.enrol(person.home)
        self.alice("git", "clone", "--quiet", str(self.folder / "origin.git"), str(person.folder))
        return person


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sshd.Server]:
    program = sshd.find()
    if program is None:
        pytest.skip("there is no sshd: install openssh-server")
    with sshd.serve(program, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def team(
    server: sshd.Server, reproduced: Project, tmp_path_factory: pytest.TempPathFactory
) -> Team:
    folder = tmp_path_factory.mktemp("team")
    alice = Person(folder / "alice" / "project", folder / "alice")
    server.enrol(alice.home)
    shutil.copytree(reproduced.folder, alice.folder, symlinks=True)
    alice("git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "origin.git"))
    alice("git", "remote", "add", "origin", str(folder / "origin.git"))
    alice("dvc", "remote", "add", "--default", "shared", server.url(STORE))
    alice("dvc", "remote", "modify", "shared", "verify", "true")
    alice("git", "commit", "--quiet", "--message=Share", ".dvc/config")
    alice("git", "push", "--quiet", "origin", "main")
    alice("dvc", "push")
    return Team(folder, server, alice)


@pytest.fixture(scope="module")
def bob(team: Team) -> Person:
    """A colleague who has pulled."""
    person = team.join("bob")
    person("dvc", "pull")
    return person


def stored(folder: Path) -> dict[str, str]:
    """The objects of a cache or a remote: path and digest. The name is the MD5 of the content."""
    return digests(folder / "files" / "md5")


def test_a_colleague_pulls_what_was_pushed_and_has_nothing_to_run(team: Team, bob: Person) -> None:
    for name in ("data/MNIST/raw", "models"):
        assert digests(bob.folder / name) == digests(team.alice.folder / name)
    assert bob.repro() == []


@pytest.mark.slow
def test_two_people_run_half_a_sweep_each_and_a_third_sees_both(team: Team, bob: Person) -> None:
    team.alice("dvc", "exp", "run", "--temp", "--name", "low", "-S", "train.lr=0.02")
    bob("dvc", "exp", "run", "--queue", "--name", "high", "-S", "train.lr=0.1")
    assert bob.run_queue(jobs=1) == {"high": "Success"}
    assert "'download' didn't change, skipping" in bob("dvc", "queue", "logs", "high")
    for person, name in ((team.alice, "low"), (bob, "high")):
        person("dvc", "exp", "push", "origin", name)

    carol = team.join("carol")
    carol("dvc", "exp", "pull", "origin", "low", "high")
    table = carol("dvc", "exp", "show", "--csv", "--no-pager").splitlines()
    shown = {row["Experiment"]: row for row in csv.DictReader(table)}
    assert (shown["low"]["train.lr"], shown["high"]["train.lr"]) == ("0.02", "0.1")
    assert float(shown["low"]["test.accuracy"]) != float(shown["high"]["test.accuracy"])
    carol("dvc", "exp", "apply", "high")
    assert carol.repro() == []


def test_a_colleague_gets_the_model_in_production_and_predicts_with_it(team: Team) -> None:
    team.alice("gto", "register", "digit-classifier", "--version", "v1.0.0")
    team.alice("gto", "assign", "digit-classifier", "--version", "v1.0.0", "--stage", "prod")
    team.alice("git", "push", "--quiet", "--tags", "origin")
    dave = team.join("dave")
    get = ("dvc", "artifacts", "get", ".", "digit-classifier", "--out")
    dave(*get, "version.safetensors", "--rev", "v1.0.0")
    dave(*get, "stage.safetensors", "--stage", "prod")
    model = (team.alice.folder / MODEL).read_bytes()
    assert (dave.folder / "version.safetensors").read_bytes() == model
    assert (dave.folder / "stage.safetensors").read_bytes() == model

    network = weights.load(dave.folder / "stage.safetensors")
    images, _labels = mnist.load(team.alice.folder / DATA, "test")
    x = mnist.normalise(images, network.config.mean, network.config.std)
    expected = pd.read_csv(dave.folder / "metrics" / "predictions.csv")["predicted"]
    assert network(torch.from_numpy(x)).argmax(dim=1).tolist() == expected.tolist()


def test_a_push_that_was_killed_is_completed_by_the_next_one(team: Team) -> None:
    alice, dave = team.join("alice-2"), team.join("dave-2")
    shutil.copytree(team.alice.folder / ".dvc" / "cache", alice.folder / ".dvc" / "cache")
    for person in (alice, dave):
        person("dvc", "remote", "modify", "shared", "url", team.server.url("cut"))
    store = team.server.folder / "cut"
    # The connection stops sending after 200 kB, less than half of the largest file.
    dead = "sh -c '(dd bs=1 count=200000 status=none; sleep 60) | {ssh}'"
    team.server.enrol(alice.home, proxy=dead)
    push = alice.start("dvc", "push")
    while not stored(store):
        assert push.poll() is None
        time.sleep(0.05)
    kill(psutil.Process(push.pid))
    push.wait()
    assert "new:" in alice.run("dvc", "status", "--cloud").stdout

    team.server.enrol(alice.home)
    alice("dvc", "push")
    dave("dvc", "pull")
    assert stored(dave.folder / ".dvc" / "cache").items() <= stored(store).items()
    assert digests(dave.folder / DATA) == digests(team.alice.folder / DATA)


@pytest.mark.parametrize(
    ("mistake", "why"),
    [
        ("key", "Permission denied (publickey)"),
        ("known_hosts", "Host key verification failed"),
        ("port", "Connection refused"),
    ],
)
def test_a_refused_connection_ends_the_pull_and_ssh_says_why(
    team: Team, mistake: str, why: str
) -> None:
    eve = team.join(f"eve-{mistake}")
    other = eve.home / "other_key"
    sshd.make_key(other)
    entry = f"[{sshd.HOST}]:{team.server.port} {other.with_suffix('.pub').read_text()}"
    (eve.home / "known_hosts").write_text(entry)
    wrong: dict[str, Any] = {"key": other, "known_hosts": eve.home / "known_hosts", "port": 9}
    team.server.enrol(eve.home, **{mistake: wrong[mistake]})
    process = eve.run("dvc", "pull")
    assert process.returncode != 0
    assert "failed to connect to ssh" in process.stdout
    assert "Connection lost" in process.stdout
    assert "Traceback" not in process.stdout
    assert stored(eve.folder / ".dvc" / "cache") == {}
    assert why in eve.run("ssh", "-F", str(eve.home / ".ssh" / "config"), sshd.HOST, "true").stdout


def test_a_damaged_object_is_refused_and_can_be_replaced(team: Team) -> None:
    dave = team.join("dave-3")
    cache = dave.folder / ".dvc" / "cache"
    md5 = hashlib.md5((team.alice.folder / MODEL).read_bytes(), usedforsecurity=False).hexdigest()
    name = f"files/md5/{md5[:2]}/{md5[2:]}"
    damaged = team.server.folder / STORE / name
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    process = dave.run("dvc", "pull")
    assert process.returncode != 0
    assert "Checkout failed for following targets" in process.stdout
    assert MODEL in process.stdout
    assert not (dave.folder / MODEL).exists()
    assert not (cache / name).exists()

    shutil.copyfile(team.alice.folder / ".dvc" / "cache" / name, damaged)
    dave("dvc", "pull")
    assert (dave.folder / MODEL).read_bytes() == (team.alice.folder / MODEL).read_bytes()
