"""Two hosts on one machine: network namespaces, joined by a pair of virtual Ethernet devices."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

DEVICE = "eth0"  # of each host


@dataclass
class Host:
    """A network namespace; its processes see the files of this machine, but not its network."""

    name: str
    address: str

    def command(self, *command: str) -> list[str]:
        """A command as this machine starts it, to run on the host."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self) -> None:
        """Remove its network device for good. The other host's device goes with it."""
        ip("-n", self.name, "link", "delete", DEVICE)


def ip(*arguments: str) -> None:
    command = ["ip", *arguments]
    subprocess.run(command, capture_output=True, text=True, check=True)


@contextmanager
def joined() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other and nothing else. Skips the test if they cannot be made."""
    a, b = (Host(f"mnist-{os.getpid()}-{n}", f"10.213.0.{n}") for n in (1, 2))
    try:
        try:
            ip("netns", "add", a.name)
            ip("netns", "add", b.name)
            peer = ["type", "veth", "peer", "name", DEVICE, "netns", b.name]
            ip("link", "add", DEVICE, "netns", a.name, *peer)
        except FileNotFoundError:
            pytest.skip("no command `ip` here (apt-get install iproute2)")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no right to make network namespaces: {error.stderr.strip()}")
        for host in (a, b):
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", DEVICE)
            ip("-n", host.name, "link", "set", DEVICE, "up")
            ip("-n", host.name, "link", "set", "lo", "up")
        yield a, b
    finally:
        for host in (a, b):
            with suppress(FileNotFoundError, subprocess.CalledProcessError):  # not made
                ip("netns", "delete", host.name)
