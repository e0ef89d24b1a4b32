"""Huey on Redis, with its results announced: a blocking pop per task. A worker of threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from huey import RedisHuey
from redis.connection import ConnectionPool

from bench.harness.contract import Base, tick


class Adapter(Base):
    mode = "threads"

    def huey(self) -> Any:
        pool = ConnectionPool(port=self.port, max_connections=2000)
        huey = RedisHuey("bench", connection_pool=pool, notify_result=True)

        def echo(payload: str) -> str:
            tick()
            return payload

        self._echo = huey.task(name="echo")(echo)
        return huey

    def run_worker(self) -> None:
        self.huey().create_consumer(
            workers=self.worker_threads,
            worker_type="thread",
            periodic=False,
            check_worker_health=False,
        ).run()

    def open(self, concurrency: int) -> None:
        self.huey()

    def call(self, payload: str) -> object:
        return self._echo(payload).get(blocking=True, timeout=30)

    def enqueue(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            self._echo(payload)
