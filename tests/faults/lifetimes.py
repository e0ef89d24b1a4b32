"""The life of every key, asked a thousand at a time: a long run leaves hundreds of thousands."""

from __future__ import annotations

from collections.abc import Iterator

import redis

_BATCH = 1000


class Lifetimes:
    """As much of a client as `tests.leaks.leaked_keys` needs."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._known: dict[bytes, int] = {}

    def scan_iter(self, count: int = _BATCH) -> Iterator[bytes]:
        """All keys; their lives are asked for on the way."""
        some: list[bytes] = []
        for key in self._client.scan_iter(count=count):
            some.append(key)
            if len(some) == _BATCH:
                yield from self._ask(some)
                some = []
        yield from self._ask(some)

    def pttl(self, key: bytes) -> int:
        """Of a key that was just given out."""
        return self._known.pop(key)

    def _ask(self, keys: list[bytes]) -> Iterator[bytes]:
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.pttl(key)
        self._known = dict(zip(keys, pipe.execute(), strict=True))
        yield from keys
