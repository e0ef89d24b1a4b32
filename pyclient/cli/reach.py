"""The way of a command to Redis: address from the settings, or from its options."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.keys import Keys
from pyclient.queue import Queue
from pyclient.scripts import Script
from pyclient.settings import load, redact, redis_address
from pyclient.settings_table import Settings
from pyclient.shards import keys_of


@dataclass(frozen=True, slots=True)
class Redis:
    """An open connection and what belongs to it; `address` may be shown."""

    conn: Connection
    settings: Settings
    scripts: dict[str, Script]
    url: str
    address: str
    prefix: str

    def commands(self, queue: str) -> Commands:
        """The scripts on one queue."""
        return Commands(self.conn, self.scripts, Keys(self.prefix, queue))

    def parts(self, queue: str) -> list[str]:
        """The queues that a queue is made of: PEAK_QUEUE may have shards, others have none."""
        count = self.settings.shards if queue == self.settings.queue else 1
        return [keys.name for keys in keys_of(self.prefix, queue, count)]

    def queue(self, name: str) -> Queue:
        """The queue as programs see it."""
        count = len(self.parts(name))
        return Queue.from_url(self.url, name=name, prefix=self.prefix, shards=count)


def add_redis(parser: argparse.ArgumentParser) -> None:
    """Options for where Redis is."""
    parser.add_argument("--url", help="address of Redis (default: from the settings)")
    parser.add_argument("--prefix", help="first part of every key (default: PEAK_PREFIX)")


def add_json(below: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`--json` behind the last word too, where people put it."""
    for one in below.choices.values():
        one.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="one JSON value on stdout",
        )


@asynccontextmanager
async def opened(args: argparse.Namespace) -> AsyncIterator[Redis]:
    """Connect and check the server. Raises ConfigError, Unavailable."""
    settings = load()
    url = args.url or redis_address(settings)
    conn = Connection(url, client_name="peakshaver-cli")
    await conn.open()
    try:
        prefix = args.prefix or settings.prefix
        yield Redis(conn, settings, scripts(), url, redact(url), prefix)
    finally:
        await conn.aclose()
