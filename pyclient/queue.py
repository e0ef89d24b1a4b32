"""The queue as a program sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import codec
from .durability import demanding
from .engine import Engine
from .errors import BadPayload, ConfigError
from .keys import Keys, check_id, shorten
from .line import Line
from .live import settings_of
from .model import Bucket, Verdict
from .positions import Positions
from .profiles import profile_of, profile_of_call, to_ms, with_key
from .sending import send, submit_all
from .slot import Slot
from .ticket import Ticket
from .whole import configure_all, gauge_all, sweep_all

KEYED_KEEP_S = 60
_SLOT_MS = 86_400_000


class Queue:
    """A named line in front of something that can take only so much.

        async with Queue.from_url("redis://localhost") as queue:
            answer = await queue.call("resize", {"width": 80}, timeout=10)

    One object serves any number of concurrent callers of one event loop: their tasks travel
    in common batches. Errors are those of `pyclient.errors`.
    """

    def __init__(
        self,
        url: str,
        name: str,
        prefix: str,
        *,
        max_payload: int = codec.MAX_BYTES,
        shards: int = 1,
    ) -> None:
        self._engine = Engine(url, name, prefix, max_payload, shards=shards)
        self.url, self.name, self.shards = url, name, shards
        self.keys: Keys = self._engine.keys[self._engine.names("pull")[0]]

    @classmethod
    def from_url(
        cls,
        url: str = "embedded://",
        *,
        name: str = "default",
        prefix: str = "peak",
        durability: str | None = None,
        shards: int = 1,
    ) -> Queue:
        """A queue at an address of Redis or Valkey; no I/O before it is opened.

        `embedded://` starts a private server that ends with this process and its forks and is
        the same for all of them; `embedded://DIR` joins or starts one that keeps its data in DIR.
        `durability` (memory, aof, replicated[:N]; or `?durability=` in the address) is demanded:
        opening raises ConfigError where the server keeps less. `shards` splits the queue over the
        nodes of a Cluster; every client and worker must say the same number.
        """
        return cls(demanding(url, durability), name, prefix, shards=shards)

    async def __aenter__(self) -> Queue:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def open(self) -> None:
        """Connect (start the embedded server). The first call does it too, but after `aclose`."""
        await self._engine.open()

    async def aclose(self) -> None:
        """Close. What waits leaves the line (Unavailable), slots are cancelled; tickets live on."""
        await self._engine.aclose()

    @property
    def address(self) -> str:
        """Where the queue is, for other processes: of a private server once it is open."""
        return self._engine.address

    @property
    def is_open(self) -> bool:
        """Whether it is connected (which says nothing about the server)."""
        return self._engine.is_open

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
        result, for a minute after it came. Cancelling takes the task out, unless it has a key.
        """
        body = codec.encode(payload)
        profile = profile_of_call(route, level, tenant, timeout)
        if key is not None:
            profile = with_key(profile._replace(keep_s=KEYED_KEEP_S), key, body)
        answer = await send(self._engine, profile, body, profile.wait_ms / 1000, key=key)
        return codec.decode(answer, what="result")

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
        task_id: str = "",
    ) -> bytes:
        """As `call`, with raw bytes in and out and each time apart (see lua/README.md)."""
        profile = profile_of(route, level, tenant, wait_ms, run_ms, due_ms, attempts, 0)
        seconds = (wait_ms + run_ms) / 1000
        waiting = send(self._engine, profile, b"r" + body, seconds, task_id)
        del body  # it may be large and the wait long: Redis has it
        answer = await waiting
        if answer[:1] != b"r":
            raise BadPayload(f"the answer begins with {answer[:1]!r}: expected raw bytes")
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
        some = [payload]
        return (await submit_all(self._engine, route, some, level, tenant, timeout, key, keep))[0]

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
        """As `submit`, for many, a thousand at a time.

        Raises the first refusal of a thousand after all of them were answered, with a note of
        how many were admitted; what comes after them is not sent.
        """
        return await submit_all(self._engine, route, payloads, level, tenant, timeout, None, keep)

    def slot(
        self, route: str = "", *, level: int = 3, tenant: str = "", timeout: float = 30.0
    ) -> Slot:
        """`async with queue.slot("db") as lease:` runs the block when its turn comes.

        Turns are given by the sister queue `<name>.hold`, at most `configure(slots=…)` at once and
        per route `concurrency`. Should the lease end first, the block is cancelled: TaskLost.
        """
        wait_ms = to_ms(timeout)
        profile = profile_of(route or "-", level, tenant, wait_ms, _SLOT_MS, 0, 1, 0)
        task_id = self.new_id(profile.route, slots=True)
        return Slot(self._engine.hold, profile, wait_ms / 1000, task_id)

    async def attach(self, task_id: str) -> Ticket:
        """The ticket of a task by its id, from any process."""
        check_id(task_id)
        return Ticket(await self._line_of(task_id), task_id)

    def new_id(self, route: str, *, slots: bool = False) -> str:
        """An id for a task of this route, for `exchange`: of the shard that it should go to."""
        return self._engine.spreads["hold" if slots else "pull"].new_id(route)

    def positions(self, *, slots: bool = False) -> Positions:
        """Tells where waiting tasks stand, many at once; `slots`: those of `slot`."""
        mode = "hold" if slots else "pull"
        return Positions(self._engine.commands, lambda task_id: self._engine.where(mode, task_id))

    # -- operation --------------------------------------------------------------------------

    async def gauge(self, *, slots: bool = False) -> dict[str, Any]:
        """One snapshot (`slots`: of the sister queue), as in lua/README.md; of shards the sums."""
        return await gauge_all(self._engine, "hold" if slots else "pull")

    async def sweep(self, *, slots: bool = False) -> None:
        """End what is over. Whoever has tasks in the line does so by itself."""
        await sweep_all(self._engine, "hold" if slots else "pull")

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
        `level_step` in seconds (0: FIFO, or "strict"); `concurrency`, `room` by route. 0: no
        limit. Other processes hear of a shorter lease within five seconds.
        """
        settings = settings_of(
            capacity=capacity,
            reserve=reserve,
            lease=lease,
            level_step=level_step,
            concurrency=concurrency,
            room=room,
        )
        pull = {**settings_of(limit=limit), **settings}
        hold = {**settings_of(limit=slots), **settings}
        for mode, some in (("pull", pull), ("hold", hold)):
            if some:
                await configure_all(self._engine, mode, some)
        if lease is not None:
            await self._engine.refresh()

    async def take(self, buckets: Sequence[tuple[Bucket, int]]) -> list[Verdict]:
        """Take from up to four token buckets, all or none; `RateLimiter` is the usual way."""
        return await (await self._engine.commands(self._engine.names("pull")[0])).limit(buckets)

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
        check_id(task_id)
        line = await self._line_of(task_id)
        new_id = self._engine.spreads["pull"].id_beside(task_id)
        word = (await line.commands.revive([(task_id, new_id)])).words[0]
        if word != "OK":
            raise ConfigError(f"no dead letter has the id {shorten(task_id)}")
        return Ticket(line, new_id)

    async def _line_of(self, task_id: str) -> Line:
        where = self._engine.where("pull", task_id)
        return self._engine.ready(where) or await self._engine.line(where)

    async def _state(self, state: str, reason: str) -> None:
        for mode in ("pull", "hold"):
            await configure_all(self._engine, mode, {"state": state, "reason": reason})
