"""The reply path with events in an order of our choosing; on real servers it is in test_queue."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import pytest

from pyclient.entry import SENDING, Entry
from pyclient.errors import StateLost, TaskExpired, Unavailable
from pyclient.keys import new_task_id
from pyclient.model import Attached
from tests.pyclient.client_rig import until
from tests.pyclient.fakes import PROFILE, Rig, entry

CUT = Unavailable("the link broke", unknown=True)


async def sent(rig: Rig, count: int = 1) -> list[Entry]:
    """Tasks that wait in Redis."""
    several = [entry() for _ in range(count)]
    for one in several:
        rig.commands.states[one.id] = b"waiting"
        rig.line.submit(one)
    await until(lambda: all(one.acked for one in several))
    return several


async def test_values_find_those_who_wait_for_them() -> None:
    async with Rig() as rig:
        one, other = await sent(rig, 2)
        rig.reader.post(("hello", b"1"))
        rig.reader.post((other.id, b"done\nm\x02"), ("x" * 22, b"done\n"), (one.id, b"failed\nno"))
        assert await one.future == b"failed\nno"
        assert await other.future == b"done\nm\x02"
        assert len(rig.line.inbox) == 0
        await until(lambda: rig.line.inbox.last_id == b"2-0")
        rig.reader.post((one.id, b"done\nagain"))
        await until(lambda: rig.line.inbox.last_id == b"3-0")
        assert one.future.result() == b"failed\nno"


async def test_two_who_wait_for_one_task_both_get_it() -> None:
    async with Rig() as rig:
        (one,) = await sent(rig)
        twin = Entry(one.id, PROFILE, b"")
        rig.line.inbox.add(twin)
        rig.line.inbox.discard(entry())
        rig.reader.post((one.id, b"done\nm\x02"))
        assert await one.future == await twin.future


@pytest.mark.parametrize("error", [CUT, RuntimeError("a bug")], ids=repr)
async def test_after_an_error_of_the_reader_all_is_asked_for_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with Rig() as rig:
        waits, ended, lost = await sent(rig, 3)
        rig.commands.states[ended.id] = b"done\nm\x05"
        del rig.commands.states[lost.id]
        with caplog.at_level(logging.WARNING):
            rig.reader.fail(error)
            assert await asyncio.wait_for(ended.future, 2) == b"done\nm\x05"
            with pytest.raises(StateLost) as caught:
                await asyncio.wait_for(lost.future, 2)
        assert caught.value.task_id == lost.id
        assert not waits.future.done()
        rig.reader.post((waits.id, b"done\nm\x06"))
        assert await waits.future == b"done\nm\x06"
        assert "can't read answers" in caplog.text


async def test_what_no_one_wrote_into_the_stream_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Rig() as rig:
        (one,) = await sent(rig)
        rig.reader.entries.append([b"\xff\xfe", b"junk"])
        rig.reader.written.set()
        rig.reader.post((one.id, b"done\nm\x02"))
        assert await asyncio.wait_for(one.future, 2) == b"done\nm\x02"
        assert "mistake of this program" in caplog.text


async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Rig() as rig:
        with caplog.at_level(logging.WARNING):
            for _ in range(4):
                rig.reader.fail(CUT)
            await until(lambda: not rig.reader.entries, timeout=3)
            (one,) = await sent(rig)
            rig.reader.post((one.id, b"done\n"))
            await asyncio.wait_for(one.future, 3)
        assert len([one for one in caplog.records if "can't read" in one.message]) == 1


async def test_what_is_in_the_inbox_counts_before_what_redis_does_not_know() -> None:
    async with Rig() as rig:
        (one,) = await sent(rig)
        del rig.commands.states[one.id]
        gate = rig.commands.gates["fetch"] = asyncio.Event()
        rig.line.inbox.lost()
        await until(lambda: rig.commands.sent("fetch"))
        rig.reader.post((one.id, b"done\nm\x07"))
        gate.set()
        assert await asyncio.wait_for(one.future, 2) == b"done\nm\x07"


async def test_a_task_acknowledged_while_fetch_travels_is_not_lost() -> None:
    async with Rig() as rig:
        admit = rig.commands.gates["admit"] = asyncio.Event()
        fetch = rig.commands.gates["fetch"] = asyncio.Event()
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.state == SENDING)
        rig.line.inbox.lost()
        await until(lambda: rig.commands.sent("fetch") == [[one.id]])
        admit.set()
        await until(lambda: one.acked)
        fetch.set()  # it answers `gone`, as of before
        await until(lambda: len(rig.reader.asked) > 3)
        await asyncio.sleep(0.05)
        assert not one.future.done()
        assert len(rig.line.inbox) == 1


async def test_a_task_that_ended_before_it_was_acknowledged_is_missed() -> None:
    """Its answer went with the inbox of then, and `fetch` came before the reply of the admit."""
    async with Rig() as rig:
        admit = rig.commands.gates["admit"] = asyncio.Event()
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.state == SENDING)
        rig.line.inbox.lost()
        await until(lambda: rig.commands.sent("fetch") == [[one.id]])
        await until(lambda: one.id in rig.line.inbox.unsure)
        admit.set()
        with pytest.raises(StateLost):
            await asyncio.wait_for(one.future, 3)


async def test_a_running_task_is_news_in_hold_mode_only() -> None:
    async with Rig("pull") as rig:
        (one,) = await sent(rig)
        rig.commands.states[one.id] = b"running\n7 5000"
        rig.line.inbox.lost()
        await until(lambda: rig.commands.sent("fetch"))
        await asyncio.sleep(0.05)
        assert not one.future.done()
    async with Rig("hold") as rig:
        (one,) = await sent(rig)
        rig.commands.states[one.id] = b"running\n7 5000"
        began = rig.line.inbox.fresh_since
        rig.line.inbox.lost()
        assert await asyncio.wait_for(one.future, 1) == b"granted\n7 5000"
        assert began <= one.since <= asyncio.get_running_loop().time()
        assert len(rig.line.inbox) == 0


async def test_a_resync_asks_in_calls_of_64() -> None:
    async with Rig() as rig:
        await sent(rig, 150)
        rig.line.inbox.lost()
        await until(lambda: len(rig.commands.sent("fetch")) == 3)
        assert [len(ids) for ids in rig.commands.sent("fetch")] == [64, 64, 22]


@pytest.mark.parametrize(
    "reply",
    [Attached(True, 15000, b"0-0", []), Attached(False, 15000, b"1-0", [])],
    ids=["made anew", "older than what was read"],
)
async def test_an_inbox_that_is_not_the_old_one_is_read_from_its_beginning(reply: Attached) -> None:
    async with Rig() as rig:
        rig.reader.number = 70
        (one,) = await sent(rig)
        rig.reader.post(("hello", b"1"))
        await until(lambda: rig.line.inbox.last_id == b"71-0")
        rig.commands.next["attach"] = [reply]
        await rig.line.inbox.attach()
        await until(lambda: rig.commands.sent("fetch") and rig.reader.asked[-1] == b"0")
        rig.reader.post((one.id, b"done\n"))
        assert await asyncio.wait_for(one.future, 1) == b"done\n"


async def test_an_idle_second_asks_whether_the_inbox_is_there() -> None:
    async with Rig() as rig:
        await asyncio.sleep(0.05)
        assert len(rig.commands.sent("attach")) == 1, "nobody waits: that of open()"
        await sent(rig)
        await until(lambda: len(rig.commands.sent("attach")) > 2)


async def test_how_old_an_answer_can_be_is_known() -> None:
    async with Rig() as rig:
        loop = asyncio.get_running_loop()
        (one,) = await sent(rig)
        await asyncio.sleep(0.08)
        assert loop.time() - rig.line.inbox.fresh_since < 0.06
        before = rig.line.inbox.fresh_since
        rig.reader.post((one.id, b"granted\n1 2"))
        await one.future
        assert before <= one.since <= loop.time()


# -- tasks of others --------------------------------------------------------------------------


def stranger(state: bytes | None, rig: Rig) -> Entry:
    """Someone who waits for a task by its id."""
    one = Entry(new_task_id(), PROFILE._replace(keep_s=1), b"")
    if state is not None:
        rig.commands.states[one.id] = state
    rig.line.watch(one)
    return one


@pytest.fixture(autouse=True)
def _short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.watching._FIRST_S", 0.02)
    monkeypatch.setattr("pyclient.watching._LONGEST_S", 0.03)


async def test_a_watched_task_that_has_ended_is_told_at_once() -> None:
    async with Rig() as rig:
        rig.commands.next["attach"] = [lambda ids: Attached(False, 15000, b"0-1", [b"done\nm\x01"])]
        assert await stranger(None, rig).future == b"done\nm\x01"


async def test_a_watched_task_is_asked_for_again_and_again() -> None:
    async with Rig() as rig:
        one = stranger(b"running\n7 5000", rig)
        await until(lambda: len([ids for ids in rig.commands.sent("attach") if ids]) > 3)
        rig.commands.next["attach"] = [CUT, CUT]
        await until(lambda: not rig.commands.next["attach"])
        rig.commands.states[one.id] = b"done\nm\x03"
        assert await asyncio.wait_for(one.future, 1) == b"done\nm\x03"
        assert len(rig.line.inbox) == 0


async def test_a_task_that_nobody_knows_is_told_as_that() -> None:
    async with Rig() as rig:
        rig.commands.next["attach"] = [Attached(False, 15000, b"0-1", [b"gone"])] * 9
        with pytest.raises(TaskExpired, match="no task has this id"):
            await asyncio.wait_for(stranger(None, rig).future, 2)


async def test_a_watched_task_that_was_there_and_is_gone_is_lost() -> None:
    async with Rig() as rig:
        one = stranger(b"waiting", rig)
        await until(lambda: one.acked)
        del rig.commands.states[one.id]
        rig.commands.next["attach"] = [Attached(False, 15000, b"0-1", [b"gone"])] * 9
        with pytest.raises(StateLost):
            await asyncio.wait_for(one.future, 2)


@pytest.mark.parametrize("error", [CUT, ValueError("a bug")], ids=repr)
async def test_a_watch_that_can_not_begin_is_an_error(error: Exception) -> None:
    async with Rig() as rig:
        rig.commands.next["attach"] = [error]
        with pytest.raises(type(error)):
            await stranger(b"waiting", rig).future
        assert len(rig.line.inbox) == 0


async def test_an_inbox_is_made_again_where_the_link_broke() -> None:
    async with Rig() as rig:
        attach, broken = cast("Any", rig.commands.attach), [CUT, CUT]

        async def cut(caller: str, ids: object = ()) -> Any:
            if broken:
                raise broken.pop()
            return await attach(caller, ids)

        rig.commands.attach = cut  # type: ignore[method-assign]
        await rig.line.inbox.aclose()
        await rig.line.inbox.open()
        broken += [CUT] * 3
        await rig.line.inbox.aclose()
        with pytest.raises(Unavailable) as caught:
            await rig.line.inbox.open()
        assert not caught.value.unknown  # nothing of a task was sent
