"""Celery with Redis as broker and as result backend; results come by publish and subscribe.

One submitting thread keeps all calls in flight: its consumer of results is not made for many.
`prefork` is one child process, `threads` a pool of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from bench.harness.contract import Base, tick


class Adapter(Base):
    mode = "window"
    variants: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {"pool": "threads"},
        "threads": {"pool": "threads"},
        "prefork": {"pool": "prefork"},
    }

    def application(self) -> Any:
        from celery import Celery

        application = Celery("bench", broker=self.url, backend=self.url)
        application.conf.update(
            worker_prefetch_multiplier=16,
            worker_send_task_events=False,
            task_send_sent_event=False,
            result_expires=60,
            task_serializer="json",
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
            broker_pool_limit=10,
        )

        def echo(payload: str) -> str:
            tick()
            return payload

        self._echo = application.task(name="echo")(echo)
        return application

    def run_worker(self) -> None:
        pool = self.options["pool"]
        count = self.worker_threads if pool == "threads" else 1
        alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        self.application().worker_main(
            ["worker", f"--pool={pool}", f"--concurrency={count}", "--loglevel=WARNING", *alone]
        )

    def open(self, concurrency: int) -> None:
        self._application = self.application()

    def submit(self, payload: str) -> Any:
        return self._echo.delay(payload)

    def result(self, handle: Any) -> object:
        value = handle.get(timeout=30)
        handle.forget()
        return value

    def enqueue(self, payloads: Sequence[str]) -> None:
        with self._application.producer_pool.acquire(block=True) as producer:
            for payload in payloads:
                self._echo.apply_async((payload,), producer=producer, ignore_result=True)
