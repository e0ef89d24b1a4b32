"""The queue as a program sees it."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import codec
from .commands import Commands
from .connection import Connection
from .errors import ConfigError, TaskExpired
from .keeper import Keeper
from .keys import Keys, check_route, check_tenant, new_task_id, shorten
from .line import Entry, Line
from .model import Bucket, Profile, Verdict
from .outcome import Bodies
from .scripts import Script, load_scripts
from .slot import Slot, SlotKeeper
from .ticket import Ticket

LONGEST_S = 2_592_000.0
KEYED_KEEP_S = 60


@functools.cache
def scripts() -> dict[str, Script]:
    """The bundles, read once a process."""
    return load_scripts()


class Queue:
    """A named line in front of something that can take only so much.

        async with Queue.from_url("redis://localhost") as queue:
            answer = await queue.call("resize", {"width": 80}, timeout=10)

    One object serves any number of concurrent callers of one event loop: their tasks travel
    in common batches. Errors are those of `pyclient.errors`.
    """

    def __init__(
        self, url: str, name: str, prefix: str, *, max_payload: int = codec.MAX_BYTES
    ) -> None:
        self.url = url
        self.name = name
        self.keys = Keys(prefix, name)
        self._hold_keys = Keys(prefix, f"{name}.hold")
        self._max_payload = max_payload
        self._opening = asyncio.Lock()
        self._conn: Connection | None = None
        self._server: Any = None
        self._keeper: Keeper | None = None
        self._lines: dict[str, Line] = {}
        self._slots: SlotKeeper | None = None

    @classmethod
    def from_url(
        cls, url: str = "embedded://", *, name: str = "default", prefix: str = "peak"
    ) -> Queue:
        """A queue at an address of Redis or Valkey; no I/O before it is opened.

        `embedded://` starts a private server that ends with this process tree,
        `embedded://DIR` joins or starts one that keeps its data in DIR.
        """
        return cls(url, name, prefix)

    async def __aenter__(self) -> Queue:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect (and start the embedded server). Calls do it by themselves."""
        await self._connection()

    async def aclose(self) -> None:
        """Close connections; those who still wait get Unavailable."""
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.aclose()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(keeper.stop)
        self._slots = None
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.aclose()
        server, self._server = self._server, None
        if server is not None:
            await asyncio.to_thread(server.stop)

    @property
    def address(self) -> str:
        """Where the queue is, for other processes: of an embedded server once it is open."""
        return str(self._server.url) if self._server is not None else self.url

    # -- work -------------------------------------------------------------------------------

    async def call(
        self,
        route: str,
        payload: object = None,
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        key: str | None = None,
    ) -> Any:
        """Have `route` handled by a worker and return its result.

        `timeout` (seconds) bounds the whole: what can't end in time by the measured pace is
        refused at once (TooLate). Level 0 is the most urgent, 9 the least. With `key` (an
        idempotency key, per tenant) a second call with the same payload gets the first one's
        result. Cancelling the awaiting task cancels the queued one.
        """
        body = codec.encode(payload)
        wait_ms = _ms(timeout)
        profile = _profile(
            route, level, tenant, wait_ms, wait_ms, wait_ms, 3, KEYED_KEEP_S if key else 0
        )
        if key is not None:
            profile = profile._replace(options=_same(tenant, key, body))
        return codec.decode(await self._exchange(profile, body, timeout), what="result")

    async def exchange(
        self,
        route: str,
        body: bytes,
        *,
        level: int = 3,
        tenant: str = "",
        wait_ms: int,
        run_ms: int,
        due_ms: int = 0,
        attempts: int = 1,
    ) -> bytes:
        """As `call`, with raw bytes in and out and each time apart (see lua/README.md)."""
        profile = _profile(route, level, tenant, wait_ms, run_ms, due_ms, attempts, 0)
        answer = await self._exchange(profile, b"r" + body, (wait_ms + run_ms) / 1000)
        return answer[1:]

    async def submit(
        self,
        route: str,
        payload: object = None,
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        key: str | None = None,
        keep: float = 3600.0,
    ) -> Ticket:
        """Put a task in line and return once it is admitted; it outlives this process.

        `timeout` is how long it may wait to be leased, and again how long it may run; its
        result is kept for `keep` seconds (at least one).
        """
        return (await self._submit(route, [payload], level, tenant, timeout, key, keep))[0]

    async def submit_many(
        self,
        route: str,
        payloads: Iterable[object],
        *,
        level: int = 3,
        tenant: str = "",
        timeout: float = 30.0,
        keep: float = 3600.0,
    ) -> list[Ticket]:
        """As `submit`, for many; raises the first refusal after all were answered."""
        return await self._submit(route, list(payloads), level, tenant, timeout, None, keep)

    def slot(
        self, route: str = "", *, level: int = 3, tenant: str = "", timeout: float = 30.0
    ) -> Slot:
        """`async with queue.slot("db") as lease:` runs the block when its turn comes.

        Turns are given by the sister queue `<name>.hold`, at most `limit` at once (set it with
        `configure(slots=…)`), and per route by `concurrency`. The block is cancelled, and
        TaskLost raised, should its lease be lost.
        """
        wait_ms = _ms(timeout)
        route = check_route(route) if route else "-"
        profile = _profile(route, level, tenant, wait_ms, 86_400_000, 0, 1, 0)
        return Slot(self._hold, profile, timeout)

    async def attach(self, task_id: str) -> Ticket:
        """The ticket of a task by its id, from any process."""
        line, bodies = await self._pull()
        return Ticket(line, bodies, task_id)

    # -- operation --------------------------------------------------------------------------

    async def gauge(self) -> dict[str, Any]:
        """One consistent snapshot; the names are those of lua/README.md."""
        return await (await self._commands()).gauge()

    async def configure(
        self,
        *,
        limit: int | None = None,
        slots: int | None = None,
        capacity: int | None = None,
        reserve: Sequence[int] | None = None,
        lease: float | None = None,
        level_step: float | str | None = None,
        concurrency: Mapping[str, int] | None = None,
        room: Mapping[str, int] | None = None,
    ) -> None:
        """Change settings of the queue, live and for everyone.

        `limit`: tasks running at once; `slots`: the same for `slot`; `capacity`: tasks waiting;
        `reserve`: ten marks, level l is refused from capacity - reserve[l] on; `lease` and
        `level_step` in seconds (0 is FIFO, "strict" is strict); `concurrency` and `room` by
        route. 0 means no limit.
        """
        given: dict[str, Any] = {"limit": limit, "capacity": capacity}
        if reserve is not None:
            given["reserve"] = ",".join(str(mark) for mark in reserve)
        if lease is not None:
            given["lease_ms"] = _ms(lease)
        if level_step is not None:
            strict = level_step == "strict"
            given["level_step_ms"] = "strict" if strict else round(float(level_step) * 1000)
        for kind, limits in (("concurrency", concurrency), ("room", room)):
            for route, value in (limits or {}).items():
                given[f"{kind} {check_route(route)}"] = value
        settings = {name: value for name, value in given.items() if value is not None}
        if settings:
            await (await self._commands()).configure(settings)
        hold = {name: value for name, value in settings.items() if name != "limit"}
        if slots is not None or hold:
            if slots is not None:
                hold["limit"] = slots
            await (await self._hold_commands()).configure({"mode": "hold", **hold})

    async def take(self, buckets: Sequence[tuple[Bucket, int]]) -> list[Verdict]:
        """Take from up to four token buckets, all or none; `RateLimiter` is the usual way."""
        return await (await self._commands()).limit(buckets)

    async def pause(self, reason: str = "") -> None:
        """Lease nothing more; tasks are still admitted and wait."""
        await self._state("paused", reason)

    async def resume(self) -> None:
        """Back to normal after `pause` or `close`."""
        await self._state("open", "")

    async def close(self, reason: str = "") -> None:
        """Refuse new tasks (QueueClosed); what waits is still served."""
        await self._state("closed", reason)

    async def revive(self, task_id: str) -> Ticket:
        """Bring a dead letter back as a new task. Raises ConfigError if there is none."""
        line, bodies = await self._pull()
        new_id = new_task_id()
        word = (await line.commands.revive([(task_id, new_id)])).words[0]
        if word != "OK":
            raise ConfigError(f"no dead letter has the id {shorten(task_id)}")
        return Ticket(line, bodies, new_id)

    # -- inside -----------------------------------------------------------------------------

    async def _exchange(self, profile: Profile, body: bytes, timeout: float) -> bytes:
        line, bodies = await self._pull()
        task_id = new_task_id()
        if len(body) > codec.INLINE_BYTES:
            ttl_ms = profile.wait_ms + profile.run_ms * profile.attempts
            body = await bodies.put(task_id, body, ttl_ms)
        entry = Entry(task_id, profile, body)
        future = line.submit(entry)
        timer = asyncio.get_running_loop().call_later(timeout, _expire, line, entry)
        try:
            value = await future
        except asyncio.CancelledError:
            line.forget(entry, "cancelled")
            raise
        finally:
            timer.cancel()
        return await bodies.result(entry.id, value, keep=profile.keep_s > 0)

    async def _submit(
        self,
        route: str,
        payloads: Sequence[object],
        level: int,
        tenant: str,
        timeout: float,
        key: str | None,
        keep: float,
    ) -> list[Ticket]:
        if not 0 <= keep <= 604_800:
            raise ConfigError(f"keep is {keep!r} seconds, expected 0..604800")
        wait_ms = _ms(timeout)
        profile = _profile(route, level, tenant, wait_ms, wait_ms, 0, 3, max(1, math.ceil(keep)))
        encoded = [codec.encode(payload) for payload in payloads]
        if key is not None:
            profile = profile._replace(options=_same(tenant, key, encoded[0]))
        line, bodies = await self._pull()
        loop = asyncio.get_running_loop()
        tickets = []
        for body in encoded:
            task_id = new_task_id()
            if len(body) > codec.INLINE_BYTES:
                body = await bodies.put(task_id, body, profile.wait_ms + profile.run_ms * 3)
            entry = Entry(task_id, profile, body)
            entry.admitted = loop.create_future()
            line.submit(entry)
            tickets.append(Ticket(line, bodies, task_id, entry))
        answers = [ticket.admitted for ticket in tickets]
        await asyncio.wait(answers)
        for answer in answers:
            answer.result()
        return tickets

    async def _state(self, state: str, reason: str) -> None:
        settings = {"state": state, "reason": reason}
        await (await self._commands()).configure(settings)
        await (await self._hold_commands()).configure({"mode": "hold", **settings})

    async def _connection(self) -> Connection:
        if self._conn is None:
            async with self._opening:
                if self._conn is None:
                    url = await self._address()
                    conn = Connection(url, client_name="peak")
                    await conn.open()
                    self._keeper = Keeper(url)
                    self._conn = conn
        return self._conn

    async def _address(self) -> str:
        """The address to connect to; starts or joins the embedded server."""
        if not self.url.startswith("embedded://"):
            return self.url
        from . import embedded

        directory = self.url[len("embedded://") :]
        start = functools.partial(embedded.shared, directory) if directory else None
        self._server = await asyncio.to_thread(start or embedded.EmbeddedServer.start)
        return str(self._server.url)

    async def _commands(self) -> Commands:
        return Commands(await self._connection(), scripts(), self.keys)

    async def _hold_commands(self) -> Commands:
        return Commands(await self._connection(), scripts(), self._hold_keys)

    async def _line(self, mode: str, keys: Keys) -> Line:
        line = self._lines.get(mode)
        if line is not None:
            return line
        conn = await self._connection()
        async with self._opening:
            if mode not in self._lines:
                line = Line(Commands(conn, scripts(), keys), mode, conn.reader)
                await line.open()
                self._keep_inbox(line)
                self._lines[mode] = line
        return self._lines[mode]

    async def _pull(self) -> tuple[Line, Bodies]:
        line = self._lines.get("pull") or await self._line("pull", self.keys)
        assert self._conn is not None
        return line, Bodies(self._conn, self.keys, self._max_payload)

    async def _hold(self) -> tuple[Line, SlotKeeper]:
        line = await self._line("hold", self._hold_keys)
        assert self._keeper is not None
        if self._slots is None:
            self._slots = SlotKeeper(line, self._keeper, self._hold_keys)
        return line, self._slots

    def _keep_inbox(self, line: Line) -> None:
        loop, keys, caller = asyncio.get_running_loop(), line.commands.keys, line.caller.id
        assert self._keeper is not None

        async def refresh(conn: Connection) -> float:
            reply = await Commands(conn, scripts(), keys).attach(caller)
            if reply.fresh:
                loop.call_soon_threadsafe(line.inbox.lost)
            return reply.lease_ms / 3000

        self._keeper.add(refresh)


def _expire(line: Line, entry: Entry) -> None:
    line.forget(entry, "expired")
    entry.fail(TaskExpired("no answer within the time-out", task_id=entry.id))


def _ms(seconds: float) -> int:
    """Seconds as whole milliseconds. Raises ConfigError."""
    try:
        if not 0.001 <= seconds <= LONGEST_S:
            raise ValueError
    except (TypeError, ValueError):
        raise ConfigError(
            f"a time of {shorten(seconds)} s: expected a number from 0.001 to {LONGEST_S:.0f}"
        ) from None
    return math.ceil(seconds * 1000)


def _profile(
    route: str,
    level: int,
    tenant: str,
    wait_ms: int,
    run_ms: int,
    due_ms: int,
    attempts: int,
    keep_s: int,
) -> Profile:
    if type(level) is not int or not 0 <= level <= 9:
        raise ConfigError(f"level {shorten(level)}: expected an integer from 0 (urgent) to 9")
    return Profile(
        level, check_route(route), check_tenant(tenant), wait_ms, run_ms, due_ms, attempts, keep_s
    )


def _same(tenant: str, key: str, body: bytes) -> str:
    """The option of an idempotency key: never the key itself, and one a tenant."""
    if type(key) is not str or not 1 <= len(key) <= 1024:
        raise ConfigError(f"idempotency key {shorten(key)}: expected 1..1024 characters")
    name = _hash(tenant.encode() + b"\0" + key.encode())
    return f"same={name}:{_hash(body)}"


def _hash(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()[:24]).decode()
