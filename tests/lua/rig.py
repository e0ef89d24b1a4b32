"""Calls to the product's scripts with nothing of the Python client between."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import redis

from pyclient.scripts import Script
from tests.property.driver import Arg, encode
from tests.property.snapshot import Snapshot, dump, text

PREFIX = "peak:{t}:"


def task_id(number: int) -> str:
    """A valid id."""
    return f"t{number:021d}"


class Rig:
    """One queue of one server."""

    def __init__(
        self, client: redis.Redis, scripts: Mapping[str, Script], prefix: str = PREFIX
    ) -> None:
        self.client = client
        self.scripts = scripts
        self.prefix = prefix
        self.numbers: dict[str, int] = {}
        for script in scripts.values():
            client.script_load(script.text.decode("latin-1"))

    def call(self, verb: str, *args: Arg) -> Any:
        """One EVALSHA; an error names file and line."""
        script = self.scripts[verb]
        words = ("EVALSHA", script.sha, 1, self.prefix, *(encode(a) for a in args))
        try:
            return self.client.execute_command(*words)
        except redis.exceptions.NoScriptError:
            self.client.script_load(script.text.decode("latin-1"))
            return self.client.execute_command(*words)
        except redis.ResponseError as error:
            raise redis.ResponseError(script.explain(str(error))) from None

    def numbered(self, verb: str, caller: str, *args: Arg) -> Any:
        """With the caller's next number."""
        self.numbers[caller] = self.numbers.get(caller, 0) + 1
        return self.call(verb, caller, self.numbers[caller], *args)

    def configure(self, **settings: Arg) -> Any:
        """Settings; `concurrency__r` is `concurrency r`."""
        pairs = [(name.replace("__", " "), value) for name, value in settings.items()]
        return self.call("configure", *(part for pair in pairs for part in pair))

    def admit(
        self,
        ids: list[str],
        *,
        caller: str = "g0",
        mode: str = "pull",
        level: int = 3,
        route: str = "r0",
        wait_ms: int = 600_000,
        run_ms: int = 600_000,
        due_ms: int = 0,
        attempts: int = 1,
        keep_s: int = 0,
        options: str = "",
        body: Arg = "x",
    ) -> Any:
        """Admit ids of one profile; the whole reply."""
        profile: tuple[Arg, ...] = (level, route, "", wait_ms, run_ms, due_ms, attempts, keep_s)
        rows: list[Arg] = [part for name in ids for part in (1, name, body)]
        return self.numbered("admit", caller, mode, 0, 0, 1, *profile, options, *rows)

    def many(self, count: int, **profile: Any) -> list[str]:
        """Admit many ids in batches of 64; the ids."""
        start = getattr(self, "made", 0)
        ids = [task_id(start + n) for n in range(count)]
        self.made = start + count
        for at in range(0, count, 64):
            words = self.admit(ids[at : at + 64], **profile)[3]
            assert set(words) == {b"OK"}, words
        return ids

    def claim(self, limit: int = 64, *, worker: str = "w9", top: int = 9) -> Any:
        """Claim; the whole reply."""
        return self.numbered("claim", worker, limit, top)

    def publish(self, leases: list[tuple[str, int]], *, worker: str = "w9", limit: int = 0) -> Any:
        """Publish `done` for each; the whole reply."""
        rows = [part for name, fence in leases for part in (name, fence, "done", "y")]
        return self.numbered("publish", worker, limit, 9, *rows)

    def dump(self) -> Snapshot:
        """All keys."""
        return dump(self.client, self.prefix)

    def digest(self) -> str:
        """A digest of all keys but for their lives."""
        return hashlib.sha256(repr(sorted(self.dump().content().items())).encode()).hexdigest()


def leases_of(rows: list[Any], width: int = 8) -> list[tuple[str, int]]:
    """(id, fence) of a flat list of tasks (8 wide) or grants (3 wide)."""
    return [(text(rows[i]), int(rows[i + 1])) for i in range(0, len(rows), width)]
