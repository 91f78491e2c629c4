"""An audit hook that ends the process when it unpickles or connects; no `except` hides that."""

import os
import sys
import traceback

FORBIDDEN = {
    "pickle.find_class",  # unpickling anything but plain values
    "socket.connect",
    "socket.getaddrinfo",  # the look-up of a host's name
    "socket.gethostbyname",
    "socket.sendto",
}


def install() -> None:
    sys.addaudithook(forbid)


def forbid(event: str, arguments: tuple[object, ...]) -> None:
    if event in FORBIDDEN:
        traceback.print_stack()
        print(f"Forbidden: {event}{arguments}", file=sys.stderr, flush=True)
        os._exit(1)
