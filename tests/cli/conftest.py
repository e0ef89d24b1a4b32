"""The queue that doctor is asked about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import redis

from tests.servers import Server

from .orders import fill


@pytest.fixture
def orders(server: Server) -> Iterator[redis.Redis]:
    """A client of a server with the queue `orders`: one task of each kind."""
    asyncio.run(fill(server.url))
    client = server.client()
    yield client
    client.flushall()
