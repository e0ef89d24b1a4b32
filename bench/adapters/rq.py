"""RQ. A result is waited for at the job's result stream. One job at a time: `simple` runs it in the
worker's own process, `fork` in a child each (its default), `spawn` in a new interpreter each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from redis import Redis
from redis.connection import ConnectionPool
from rq import Queue, SimpleWorker, Worker
from rq.worker import SpawnWorker

from bench.harness.contract import Base, tick
from bench.harness.several import chunks

HANDLER = "bench.adapters.rq.echo"


def echo(payload: str) -> str:
    tick()
    return payload


class Adapter(Base):
    mode = "threads"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"kind": SimpleWorker},
        "simple": {"kind": SimpleWorker},
        "fork": {"kind": Worker},
        "spawn": {"kind": SpawnWorker},
    }

    def run_worker(self) -> None:
        client = Redis(port=self.port)
        queues = [Queue("bench", connection=client)]
        worker = self.options["kind"](queues, connection=client, log_job_description=False)
        worker.work(logging_level="WARNING")

    def open(self, concurrency: int) -> None:
        pool = ConnectionPool(port=self.port, max_connections=2000)
        self._queue = Queue("bench", connection=Redis(connection_pool=pool))

    def call(self, payload: str) -> object:
        job = self._queue.enqueue(HANDLER, payload, result_ttl=60)
        return job.latest_result(timeout=30).return_value

    def enqueue(self, payloads: Sequence[str]) -> None:
        for some in chunks(payloads):
            self._queue.enqueue_many(
                [Queue.prepare_data(HANDLER, args=(payload,), result_ttl=60) for payload in some]
            )
