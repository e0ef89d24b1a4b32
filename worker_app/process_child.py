"""A process of the pool: `python -m worker_app.process_child FD`, started by process_pool.py."""

from __future__ import annotations

import functools
import importlib
import os
import queue
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from pyclient.codec import decode, encode

from .context import Context, Retry
from .failures import describe
from .process_pool import HEAD_BYTES


def main(fd: int) -> None:
    """Serve jobs until the socket ends, which the death of the parent brings about too."""
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    with socket.socket(fileno=fd) as sock:
        # A thread of its own notices the end also while a handler computes.
        threading.Thread(target=_read, args=(sock, jobs), daemon=True).start()
        while True:
            answer = _serve(decode(jobs.get(), what="job"))
            sock.sendall(len(answer).to_bytes(HEAD_BYTES) + answer)


def _read(sock: socket.socket, jobs: queue.SimpleQueue[bytes]) -> None:
    with sock.makefile("rb") as stream:
        while True:
            head = stream.read(HEAD_BYTES)
            if len(head) < HEAD_BYTES:
                os._exit(0)
            jobs.put(stream.read(int.from_bytes(head)))


def _serve(job: list[Any]) -> bytes:
    target, body, context, again, raw = job
    try:
        arguments: tuple[Any, ...] = (decode(body),)
        if context is not None:
            arguments += (Context(*context),)
        result = find(target)(*arguments)
        plain = raw and isinstance(result, bytes | bytearray)
        return encode(["done", b"r" + result if plain else encode(result, what="result")])
    except Retry as error:
        return encode(["retry", describe(error), error.delay])
    except BaseException as error:  # sys.exit ends the task, not the process
        text = describe(error)
        names = {f"{one.__module__}:{one.__qualname__}" for one in type(error).__mro__}
        if names.intersection(again):
            return encode(["retry", text, None])
        return encode(["failed", text])


@functools.cache
def find(target: str) -> Callable[..., Any]:
    """The function that `module:qualname` names."""
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    function: Callable[..., Any] = found
    return function


if __name__ == "__main__":
    main(int(sys.argv[1]))
