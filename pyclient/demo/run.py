"""The demo: the same peak against the same backend, once directly and once through the line."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyclient.commands import Commands
from pyclient.embedded import EmbeddedServer
from pyclient.keys import Keys

from . import stage
from .family import Child, Family
from .http import free_port, get_json
from .report import checks, table
from .signals import Interrupted, until_stopped
from .view import View, progress_line

PEAK_TIMES = 10
HIGH = 0.05
WARM_S = 3.0
_TTL_S = 9.0
_UPSTREAM_S = 0.8
_DRAIN_S = 15.0
_PROCESSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `peakshaver demo` was asked for."""

    seconds: float = 15.0
    slots: int = 20
    work_s: float = 0.4
    keep: bool = False
    report: Path | None = None
    to_stdout: bool = False
    redis_url: str | None = None

    @property
    def per_s(self) -> float:
        """What the backend can do."""
        return self.slots / self.work_s


class Demo:
    """One run on a stage that is set."""

    def __init__(self, options: Options, view: View, family: Family) -> None:
        self._options = options
        self._view = view
        self._family = family

    async def start(self, redis_url: str, queue: str) -> None:
        """Backend, workers and gateway, each serving."""
        options, family = self._options, self._family
        _, self.backend = await stage.start_backend(
            family, slots=options.slots, work_s=options.work_s
        )
        env = {
            "FAST_PRIORITY_TARGET_BASE_URL": self.backend,
            "FAST_PRIORITY_HIGH_PRIO_PATHS": "listed",
            "FAST_PRIORITY_PRIO_BASE_PATHS": "high",
            "FAST_PRIORITY_TTL": f"{_TTL_S:g}",
            "PEAK_UPSTREAM_TIMEOUT": f"{max(_UPSTREAM_S, options.work_s * 4):g}",
            "PEAK_REDIS_URL": redis_url,
            "PEAK_QUEUE": queue,
            "PEAK_ACCESS_LOG": "none",
            "PEAK_DRAIN_TIMEOUT": "5",
        }
        each = options.slots // _PROCESSES
        self._workers = await stage.start_workers(
            family, env, processes=_PROCESSES, concurrency=each
        )
        port = free_port()
        self._gateway = await stage.start_gateway(family, env, port=port)
        self.gateway = f"http://127.0.0.1:{port}"
        await stage.gateway_ready(self._gateway, self.gateway)

    async def run(self, commands: Commands) -> tuple[dict[str, Any], dict[str, Any]]:
        """Both parts, the direct one first."""
        view = self._view
        await stage.workers_ready(self._workers, commands)
        view.say(f"  gateway  {self.gateway}   backend  {self.backend}")
        view.say(f"  {_PROCESSES} worker processes with {self._options.slots} slots together\n")
        view.say("directly:")
        direct = await self._part(self.backend, None)
        view.say("\nthe same arrivals through the line:")
        await self._warm()
        line = await self._part(self.gateway, commands)
        line["lost"] += await self._unaccounted(commands)
        return direct, line

    async def _warm(self) -> None:
        """A quiet moment before the peak: the line measures how fast the backend is."""
        rate = self._options.per_s / 2
        client = await self._client(self.gateway, rate, WARM_S, high=HIGH)
        async for _ in _said(client):
            pass
        await self._family.stop(client)

    async def _client(self, url: str, rate: float, seconds: float, *, high: float) -> Child:
        command = [sys.executable, "-m", "pyclient.demo.client", url, "--rate", str(rate)]
        command += ["--seconds", str(seconds), "--high", str(high)]
        return await self._family.start("client", command, output="pipe")

    async def _part(self, url: str, commands: Commands | None) -> dict[str, Any]:
        """Play the peak against an address; the figures, with the backend's own counts."""
        options = self._options
        await get_json(f"{self.backend}/-/reset", "POST")
        rate = options.per_s * PEAK_TIMES
        client = await self._client(url, rate, options.seconds, high=HIGH)
        figures: dict[str, Any] = {}
        async for said in _said(client):
            figures = said.get("figures", figures)
            if "seconds" in said:
                gauge = await commands.gauge() if commands else None
                full = options.per_s * _TTL_S
                self._view.tick(progress_line(said, await self._state(), gauge, full))
        await self._family.stop(client)
        self._view.settle()
        if not figures:
            client.check()
        state = await get_json(f"{self.backend}/-/state")
        return {
            **figures,
            "backend_capacity": options.slots,
            "backend_per_s": options.per_s,
            "backend_max_in_flight": state["max_in_flight"],
            "backend_done": state["done"],
        }

    async def _state(self) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = await get_json(f"{self.backend}/-/state")
        except (OSError, ValueError):
            return None
        return state

    async def _unaccounted(self, commands: Commands) -> int:
        """Tasks that were admitted and have ended in no outcome, after a time to end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _DRAIN_S
        while True:
            gauge = await commands.gauge()
            living = gauge["waiting"] + gauge["running"] + gauge["due"]
            if not living or loop.time() > until:
                ended = ("done", "failed", "expired", "cancelled", "dead_total")
                return int(gauge["admitted"] - sum(gauge[name] for name in ended))
            await asyncio.sleep(0.1)


async def _said(client: Child) -> AsyncIterator[dict[str, Any]]:
    assert client.process.stdout is not None
    async for line in client.process.stdout:
        yield json.loads(line)


@asynccontextmanager
async def redis_for(options: Options, view: View) -> AsyncIterator[tuple[str, str]]:
    """An address and the name of a queue: our own server, or a queue of its own on theirs."""
    if options.redis_url is None:
        with EmbeddedServer.start() as server:
            view.say(f"  redis    embedded Valkey at {server.url}")
            yield server.url, "default"
        return
    queue = f"demo-{secrets.token_hex(4)}"
    async with stage.opened(options.redis_url, "peak", queue):
        view.say(f"  redis    PEAK_REDIS_URL, queue {queue}")
    try:
        yield options.redis_url, queue
    finally:
        async with stage.opened(options.redis_url, "peak", queue) as (conn, _):
            for name in (queue, f"{queue}.hold"):
                await stage.purge(conn, Keys("peak", name))


async def play(options: Options, view: View, codes: list[int]) -> int:
    """The whole demo; the exit code is in `codes` as soon as it is known."""
    view.say(
        f"peakshaver demo: a backend for {options.per_s:g} requests/s gets "
        f"{options.per_s * PEAK_TIMES:g}/s for {options.seconds:g} s, {HIGH:.0%} of them high"
    )
    async with redis_for(options, view) as (url, queue), Family() as family:
        demo = Demo(options, view, family)
        await demo.start(url, queue)
        async with stage.opened(url, "peak", queue) as (_, commands):
            direct, line = await demo.run(commands)
        codes.append(tell(options, view, direct, line))
        if options.keep:
            view.say(f"\nStill up. Try: curl -i {demo.gateway}/high/hello")
            view.say("Ctrl-C ends it.")
            await asyncio.Event().wait()
    return codes[-1]


def tell(options: Options, view: View, direct: dict[str, Any], line: dict[str, Any]) -> int:
    """Print table and checks, write the report; returns the exit code."""
    view.say()
    for row in table(direct, line):
        view.say(row)
    view.say()
    found = checks(direct, line, options.seconds)
    for check in found:
        view.say(f"  {'✓' if check.ok else '✗'} {check.text}: {check.came}")
    holds = all(check.ok for check in found if check.binding)
    report = {
        "direct": direct,
        "line": line,
        "seconds": options.seconds,
        "holds": holds,
        "checks": [check._asdict() for check in found],
    }
    text = json.dumps(report, indent=2) + "\n"
    if options.to_stdout:
        sys.stdout.write(text)
    if options.report is not None:
        options.report.write_text(text)
    return 0 if holds else 1


def main(options: Options) -> int:
    """Run it; Ctrl-C and SIGTERM drain."""
    view = View(sys.stderr if options.to_stdout else sys.stdout)
    codes: list[int] = []
    try:
        return asyncio.run(until_stopped(play(options, view, codes)))
    except Interrupted:
        view.say("\nended")
        return codes[0] if codes else 130
