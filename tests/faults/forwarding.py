"""The route of the gateway for a worker that has others as well, with its starts written down."""

from __future__ import annotations

from typing import Any

from pyclient.http.envelope import read_request
from pyclient.settings import load
from worker_app import Worker
from worker_app.builtin import ATTEMPTS
from worker_app.http_route import Forwarder

from .history import Recorder


def note_starts(record: Recorder) -> None:
    """Have every forwarded request of this process written down."""
    forward = Forwarder.forward

    async def recorded(self: Forwarder, envelope: bytes, context: Any = None) -> bytes:
        target = read_request(envelope).target.decode()
        n = target.partition("?")[0].rpartition("/")[2]
        record("start", n=n, id=context.id, fence=context.fence)
        return await forward(self, envelope, context)

    setattr(Forwarder, "forward", recorded)  # noqa: B010 - mypy refuses a replaced method


def add_http(worker: Worker, record: Recorder) -> None:
    """The product's route, on a worker of ours."""
    note_starts(record)
    forwarder: list[Forwarder] = []

    @worker.route("http", attempts=ATTEMPTS, timeout=67.0, raw=True)
    async def http(envelope: bytes, context: Any) -> bytes:
        if not forwarder:
            forwarder.append(Forwarder(load()))
        return await forwarder[0].forward(envelope, context)
