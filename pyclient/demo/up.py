"""`peakshaver up`: server, workers and gateway in front of an API, looked at every second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyclient.commands import Commands
from pyclient.embedded import EmbeddedServer
from pyclient.errors import ConfigError, PeakError
from pyclient.settings import redact, redis_address
from pyclient.settings_table import Settings

from . import stage
from .family import Child, Family
from .http import free_port
from .signals import Interrupted, until_stopped
from .view import View

_TARGET = "FAST_PRIORITY_TARGET_BASE_URL"
_PORT = "FAST_PRIORITY_PORT"
_HOST = "FAST_PRIORITY_HOST"
_EXAMPLE_SLOTS = 16
_EXAMPLE_WORK_S = 0.1
_EVERY_S = 1.0
# How long a worker supervisor may take beyond PEAK_DRAIN_TIMEOUT to end its children.
_MARGIN_S = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `peakshaver up` was asked for; the rest is in the settings."""

    settings: Settings
    target: str | None = None
    host: str | None = None
    port: int | None = None
    workers: int = 2
    concurrency: int = 8
    as_json: bool = False


class Up:
    """One system that runs."""

    def __init__(self, options: Options, view: View, family: Family, redis_url: str) -> None:
        self._options = options
        self._settings = options.settings
        self._view = view
        self._family = family
        self._redis_url = redis_url
        self._relays: set[asyncio.Task[None]] = set()
        self._watched: list[Child] = []
        self.holds = options.settings.mode == "hold"
        queue = options.settings.queue
        self.queue = f"{queue}.hold" if self.holds else queue

    async def start(self, commands: Commands) -> None:
        """Everything, in the order in which one needs the other."""
        options = self._options
        host, port = self._address()
        self.gateway = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self.target = options.target or self._settings.target_base_url or ""
        self._refuse_circle(port)
        if not self.target:
            child, self.target = await stage.start_backend(
                self._family, slots=_EXAMPLE_SLOTS, work_s=_EXAMPLE_WORK_S
            )
            self._watched.append(child)
        env = self._environment()
        cwd = Path.cwd()  # for a .env there
        if not self.holds:
            workers = await stage.start_workers(
                self._family,
                env,
                processes=options.workers,
                concurrency=options.concurrency,
                cwd=cwd,
                output="relay",
            )
            self._watch(workers)
        gateway = await stage.start_gateway(
            self._family, env, host=host, port=port, cwd=cwd, output="relay"
        )
        self._watch(gateway)
        local = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        self.local = f"http://{f'[{local}]' if ':' in local else local}:{port}"
        await stage.gateway_ready(gateway, self.local)
        if not self.holds:
            await stage.workers_ready(workers, commands)

    def _address(self) -> tuple[str, int]:
        """Where to listen: as asked, else this machine alone, at 8000 or a free port."""
        options, origins = self._options, self._settings.origins
        host = options.host or (self._settings.host if _HOST in origins else "127.0.0.1")
        port = options.port
        if port is None and _PORT in origins:
            port = self._settings.port
        if port is None:
            return host, free_port(self._settings.port, host) or free_port(0, host)
        found = free_port(port, host)
        if not found:
            raise ConfigError(f"{host}:{port} can't be listened on; is something there already?")
        return host, found

    def _refuse_circle(self, port: int) -> None:
        parts = urlsplit(self.target)
        here = ("localhost", "127.0.0.1", "0.0.0.0", "::1")
        if parts.port == port and parts.hostname in here:
            raise ConfigError(
                f"the target {self.target} is this gateway itself: requests would go round in "
                "circles; give the address of the API, or another --port"
            )

    def _environment(self) -> dict[str, str]:
        """The user's own settings, with ours on top."""
        ours = ("PEAK_", "FAST_PRIORITY_")
        env = {name: value for name, value in os.environ.items() if name.startswith(ours)}
        for name in ("PEAK_REDIS_URL_FILE", f"{_TARGET}_FILE", "FAST_PRIORITY_WORKER"):
            env.pop(name, None)
        quiet = {"PEAK_LOG": "text", "PEAK_LOG_LEVEL": "warning"}
        return {**quiet, **env, _TARGET: self.target, "PEAK_REDIS_URL": self._redis_url}

    def _watch(self, child: Child) -> None:
        self._watched.append(child)
        task = asyncio.get_running_loop().create_task(self._relay(child))
        self._relays.add(task)
        task.add_done_callback(self._relays.discard)

    async def _relay(self, child: Child) -> None:
        """What a part says, on a line of its own."""
        assert child.process.stdout is not None
        with contextlib.suppress(ValueError):  # a line longer than the reader's limit
            async for line in child.process.stdout:
                self._view.say(f"{child.name}: {line.decode('utf-8', 'replace').rstrip()}")

    def tell(self) -> dict[str, Any]:
        """The addresses, for people; the same as data."""
        options, settings = self._options, self._settings
        address = redact(self._redis_url)
        slots = options.workers * options.concurrency
        say = self._view.say
        say(f"  gateway  {self.gateway}  ->  {self.target}")
        say(f"  health   {self.local}{settings.health_path}   docs {self.local}{settings.doc_path}")
        say(f"  redis    {address}   queue {self.queue}")
        if self.holds:
            say(f"  hold mode, at most {settings.concurrency or 'any number of'} at once")
        else:
            say(f"  workers  {options.workers} x {options.concurrency}: at most {slots} at once")
        say(f"  try      curl -i {self.local}/hello        Ctrl-C drains and ends\n")
        return {"gateway": self.local, "target": self.target, "redis": address, "queue": self.queue}

    async def look(self, commands: Commands) -> None:
        """A status line a second, until a part ends."""
        before = last = await commands.gauge()
        while True:
            await asyncio.sleep(_EVERY_S)
            for child in self._watched:
                child.check()
            try:
                gauge = await commands.gauge()
            except PeakError as error:
                self._show({"error": str(error)}, f"redis: {error}")
                continue
            status = _status(gauge, last, before)
            last = gauge
            self._show(status, _status_line(status))

    def _show(self, status: dict[str, Any], line: str) -> None:
        if self._options.as_json:
            print(json.dumps(status), flush=True)
        else:
            self._view.tick(line)


_ENDS = ("done", "failed", "expired", "lost", "dead_total")


def _status(gauge: dict[str, Any], last: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What was counted since we began; a flushed server counts from zero again."""

    def since(then: dict[str, Any], *names: str) -> int:
        return max(0, sum(int(gauge[name] - then[name]) for name in names))

    return {
        "arrivals_per_s": since(last, "admitted", "refused"),
        "waiting": gauge["waiting"],
        "oldest_s": round(gauge["oldest_ms"] / 1000, 1),
        "running": gauge["running"],
        "answered": since(before, *_ENDS),
        "refused": since(before, "refused"),
    }


def _status_line(status: dict[str, Any]) -> str:
    return (
        f"arrivals {status['arrivals_per_s']}/s  waiting {status['waiting']}  "
        f"oldest {status['oldest_s']} s  running {status['running']}  "
        f"answered {status['answered']}  refused {status['refused']}"
    )


@asynccontextmanager
async def redis_for(settings: Settings) -> AsyncIterator[str]:
    """The server of the settings where they name one, else one of our own."""
    named = [name for name in settings.origins if "REDIS_" in name]
    if named:
        yield redis_address(settings)
        return
    with EmbeddedServer.start() as server:
        yield server.url


async def serve(options: Options, view: View) -> int:
    """Run until cancelled."""
    settings = options.settings
    grace_s = settings.drain_timeout + _MARGIN_S
    async with redis_for(settings) as url, Family(grace_s=grace_s) as family:
        up = Up(options, view, family, url)
        async with stage.opened(url, settings.prefix, up.queue) as (_, commands):
            await up.start(commands)
            addresses = up.tell()
            if options.as_json:
                print(json.dumps(addresses), flush=True)
            try:
                await up.look(commands)
            finally:
                view.settle()
                view.say("draining; Ctrl-C again ends it at once")
    return 0


def main(options: Options) -> int:
    """Run it; 0 after a signal and a drain."""
    view = View(sys.stderr if options.as_json else sys.stdout)
    try:
        return asyncio.run(until_stopped(serve(options, view)))
    except Interrupted:
        view.say("ended")
        return 0
