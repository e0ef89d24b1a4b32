"""The worker function of embedded_app: `python -m worker_app bench.http.embedded_worker:worker`."""

from __future__ import annotations

from worker_app import Worker

worker = Worker("embedded", concurrency=64)


@worker.route("root")
async def root(form: object) -> str:
    """The work."""
    return "Hello world."
