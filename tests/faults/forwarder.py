"""The product's forwarding worker with its calls written down.

For `python -m worker_app tests.faults.forwarder:worker`: what `python -m worker_app` serves.
"""

from __future__ import annotations

from typing import Any

from pyclient.http.envelope import read_request
from pyclient.settings import load
from worker_app.builtin import make_worker
from worker_app.http_route import Forwarder

from .history import Recorder
from .recorded import Crash, wrap

record = Recorder.of_environment()
wrap(record, Crash(record))
_forward = Forwarder.forward


async def _recorded(self: Forwarder, envelope: bytes, context: Any = None) -> bytes:
    target = read_request(envelope).target.decode()
    n = target.partition("?")[0].rpartition("/")[2]
    record("start", n=n, id=context.id, fence=context.fence)
    return await _forward(self, envelope, context)


setattr(Forwarder, "forward", _recorded)  # noqa: B010 - mypy refuses a replaced method
worker = make_worker(load())
