"""What stands in Redis is not trusted: values, ids and entries that no release has written."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyclient import BadPayload, ConfigError, PeakError, Queue, StateLost
from pyclient.cluster import slot_of
from pyclient.codec import decode
from pyclient.commands import Commands
from pyclient.keys import Keys, check_id, check_name, check_route, check_tenant
from pyclient.model import Leased, Outcome
from pyclient.outcome import error_of
from tests.security.users import raw_commands
from tests.servers import Server

BOMBS = {
    "nested long arrays": b"m" + b"\xdd\xff\xff\xff\xff" * 4200,
    "nested long maps": b"m" + b"\xdf\xff\xff\xff\xff" * 4200,
    "nested short arrays": b"m" + b"\x91" * 500_000,
    "nested short maps": b"m" + b"\x81\xa0" * 250_000,
    "an array of 2^32": b"m\xdd\xff\xff\xff\xff",
    "a string of 2^32": b"m\xdb\xff\xff\xff\xff",
    "an extension of 2^32": b"m\xc9\xff\xff\xff\xff\x05",
    "half a number": b"m\xcf\x00",
    "an unused byte": b"m\xc1",
    "two values": b"m\x01\x02",
    "no text": b"m\xa2\xff\xff",
    "a time beyond all calendars": b"m\xc7\x0c\xff" + b"\x00" * 4 + b"\x7f" + b"\xff" * 7,
    "a map as a key": b"m\x81\x80\x01",
}


def resident() -> int:
    """KiB of this process in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_quickly_and_costs_nothing(name: str) -> None:
    before, began = resident(), time.process_time()
    for _ in range(5):
        with pytest.raises(BadPayload):
            decode(BOMBS[name])
    assert time.process_time() - began < 1.0
    assert resident() - before < 16 * 1024


def _as_a_time(data: bytes) -> bytes:
    """An extension of the type that msgpack has for times."""
    return b"\xc7%c\xff%b" % (len(data), data)


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.binary(max_size=12).map(_as_a_time))
def test_any_body_is_decoded_or_refused(body: bytes) -> None:
    with contextlib.suppress(BadPayload):
        decode(body)
    with contextlib.suppress(BadPayload):
        decode(b"m" + body)


@settings(max_examples=300)
@given(st.binary(max_size=100))
def test_any_value_is_an_outcome_or_an_error_of_ours(value: bytes) -> None:
    outcome = Outcome.of(value)
    if outcome.word != "done":
        assert isinstance(error_of("t" * 22, outcome), PeakError)


NAMES = st.text("aZ09_.~/%@+-:{}*?[]\0\n é", max_size=12)


@settings(max_examples=300)
@given(NAMES, NAMES, NAMES)
def test_no_name_leaves_the_keys_of_its_queue(prefix: str, name: str, task: str) -> None:
    """Whatever is accepted has one brace pair, so one slot, and no wildcard of an ACL pattern."""
    try:
        keys = Keys(prefix, name)
        task = check_id(task.ljust(22, "x"))
    except ConfigError:
        return
    base = keys.base
    assert base == f"{prefix}:{{{name}}}:".encode()
    for key in (keys.inbox(task), keys.told(task), keys.request_body(task), keys.settings()):
        assert key.startswith(base)
        assert key.count(b"{") == key.count(b"}") == 1
        assert not set(key) & set(b"*?[]\\\0\n ")
        assert slot_of(key) == slot_of(base)


@pytest.mark.parametrize(
    "value", ["", "a b", "a\n", "a\0", "é", "*", "{a}", "a:b", "a" * 65, "x" * 1_000_000]
)
def test_what_is_no_name_is_refused_without_being_repeated(value: str) -> None:
    for check in (check_route, check_id, lambda v: check_name("queue", v)):
        with pytest.raises(ConfigError) as caught:
            check(value)
        assert len(str(caught.value)) < 300
    if value:
        with pytest.raises(ConfigError):
            check_tenant(value)


@pytest.fixture
def base(queue_name: str) -> str:
    return f"peak:{{{queue_name}}}:"


async def test_foreign_entries_in_an_inbox_reach_nobody(
    server: Server, queue_name: str, base: str
) -> None:
    """Ids that nobody waits for, ids that are none, and values that no script has written."""
    async with _both(server.url, queue_name) as (line, queue):
        call = asyncio.create_task(queue.call("echo", 1, timeout=10))
        client = server.client()
        task = await _taken(line)
        (inbox,) = client.keys(f"{base}inbox:*")
        for name, value in (
            ("z" * 22, b"done\nm\x07"),
            (b"\xff\xfe", b"done\nm\x07"),
            ("", b""),
            (task.id[:-1], b"done\nm\x07"),
            (task.id + "x", b"done\nm\x07"),
            (task.id.swapcase(), b"done\nm\x07"),
        ):
            client.xadd(inbox, {name: value})
        await asyncio.sleep(0.3)
        assert not call.done()
        await line.publish("w", 2, 0, 9, [(task.id, task.fence, "done", b"m\x05")])
        assert await call == 5


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", BadPayload),
        (b"m", BadPayload),
        (b"x\x01", BadPayload),
        (BOMBS["nested long arrays"][:4000], BadPayload),
        (b"\x80\x04\x95\x05cos\nsystem\n(S'id'\ntR.", BadPayload),
        (b"M", StateLost),
    ],
    ids="empty half other bomb pickle elsewhere".split(),
)
async def test_an_answer_that_is_none_is_an_error_of_the_caller_alone(
    server: Server, queue_name: str, body: bytes, kind: type[PeakError]
) -> None:
    async with _both(server.url, queue_name) as (line, queue):
        bad = asyncio.create_task(queue.call("echo", 1, timeout=10))
        task = await _taken(line)
        await line.publish("w", 2, 0, 9, [(task.id, task.fence, "done", body)])
        with pytest.raises(kind):
            await bad
        good = asyncio.create_task(queue.call("echo", 2, timeout=10))
        task = await _taken(line, number=3)
        await line.publish("w", 4, 0, 9, [(task.id, task.fence, "done", b"m\x02")])
        assert await good == 2


@pytest.mark.leaves_keys
async def test_a_key_of_another_tenant_is_another_key(server: Server, queue_name: str) -> None:
    async with Queue.from_url(server.url, name=queue_name) as queue:
        mine = await queue.submit("echo", 1, tenant="a", key="order-1")
        again = await queue.submit("echo", 1, tenant="a", key="order-1")
        theirs = await queue.submit("echo", 1, tenant="b", key="order-1")
        nobodys = await queue.submit("echo", 1, key="order-1")
    assert mine.id == again.id
    assert len({mine.id, theirs.id, nobodys.id}) == 3
    assert not any(b"order-1" in key for key in server.client().scan_iter())


@asynccontextmanager
async def _both(url: str, name: str) -> AsyncIterator[tuple[Commands, Queue]]:
    async with raw_commands(url, name) as line, Queue.from_url(url, name=name) as queue:
        yield line, queue


async def _taken(line: Commands, number: int = 1) -> Leased:
    for _ in range(500):
        claimed = await line.claim("w", number, 1, 9)
        if claimed.tasks:
            return claimed.tasks[0]
        number = 0  # the next tries are not numbered: the first one has its answer
        await asyncio.sleep(0.01)
    raise AssertionError("no task came")
