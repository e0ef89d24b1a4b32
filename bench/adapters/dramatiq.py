"""Dramatiq with Redis as broker and for results. A result is waited for by a blocking pop; the
worker polls, backing off up to a second (`fast`: up to 10 ms)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from bench.harness.contract import Base, tick


class Adapter(Base):
    mode = "threads"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"timeout": 1000},
        "fast": {"timeout": 10},
    }

    def broker(self) -> Any:
        self._backend = RedisBackend(url=self.wide_url)
        broker = RedisBroker(url=self.wide_url)
        broker.add_middleware(Results(backend=self._backend, result_ttl=60_000))
        dramatiq.set_broker(broker)

        def echo(payload: str) -> str:
            tick()
            return payload

        self._echo = dramatiq.actor(echo, store_results=True, actor_name="echo")
        return broker

    def run_worker(self) -> None:
        from dramatiq import Worker

        broker, told = self.broker(), threading.Event()
        broker.emit_after("process_boot")
        timeout = self.options["timeout"]
        worker = Worker(broker, worker_threads=self.worker_threads, worker_timeout=timeout)
        worker.start()
        signal.signal(signal.SIGTERM, lambda *_: told.set())
        told.wait()
        worker.stop(timeout=1000)

    def open(self, concurrency: int) -> None:
        self.broker()

    def call(self, payload: str) -> object:
        message = self._echo.send(payload)
        return message.get_result(backend=self._backend, block=True, timeout=30_000)

    def enqueue(self, payloads: Sequence[str]) -> None:
        for payload in payloads:
            self._echo.send(payload)
