"""Leaving the line: forgotten in every state, closed under those who wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pyclient.entry import NEW, SENDING, SENT
from pyclient.errors import ConfigError, StateLost, TaskExpired, Unavailable
from pyclient.model import Attached, Grant, Published, Told
from tests.pyclient.client_rig import until
from tests.pyclient.fakes import Rig, admitted, entry

CUT = Unavailable("the link broke", unknown=True)


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.line.PATIENCE_S", 0.15)
    monkeypatch.setattr("pyclient.cancels.PATIENCE_S", 0.15)


async def test_forgotten_before_it_was_sent_a_task_never_is() -> None:
    async with Rig() as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        rig.line.submit(entry())
        await until(lambda: rig.commands.sent("admit"))
        one = entry()
        rig.line.submit(one)
        assert one.state == NEW
        rig.line.forget(one, "cancelled")
        assert one.future.cancelled()
        gate.set()
        rig.line.submit(last := entry())
        await until(lambda: last.acked)
        assert one.id not in [task_id for ids in rig.commands.sent("admit") for task_id in ids]
        assert rig.commands.sent("cancel") == []


@pytest.mark.parametrize("mode", ["pull", "hold"])
async def test_forgotten_while_it_is_sent_a_task_is_cancelled_when_it_is_known(mode: str) -> None:
    async with Rig(mode) as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        one = entry()
        rig.commands.next["admit"] = [admitted("OK", grants=[Grant(one.id, 7, 1000)])]
        rig.line.submit(one)
        await until(lambda: one.state == SENDING)
        rig.line.forget(one, "expired")
        assert rig.commands.sent("cancel") == []
        gate.set()
        await until(lambda: rig.commands.sent("cancel") == [[one.id]])
        assert len(rig.line.inbox) == 0


async def test_forgotten_after_it_was_sent_a_task_is_cancelled_and_its_answer_dropped() -> None:
    async with Rig() as rig:
        one, kept = entry(), entry(keep_s=60)
        rig.line.submit(one)
        rig.line.submit(kept)
        await until(lambda: one.state == SENT and kept.state == SENT)
        rig.commands.next["cancel"] = [lambda ids: (_told("GONE", len(ids)), [])]
        rig.line.forget(one, "expired")
        rig.line.forget(kept, "expired")
        await until(lambda: rig.bodies.dropped == [one.id])
        assert rig.commands.sent("cancel") == [[one.id]], "others may wait for a kept one"
        assert len(rig.line.inbox) == 0


def _told(word: str, count: int) -> Any:

    return Told(0, False, [word] * count)


async def test_time_that_is_over_is_no_news_to_who_has_an_answer() -> None:
    async with Rig() as rig:
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.acked)
        rig.line.inbox.take(one.id, b"done\nm\xc0")
        rig.line.expire(one)
        assert await one.future == b"done\nm\xc0"
        await asyncio.sleep(0.02)
        assert rig.commands.sent("cancel") == []


async def test_attaching_anew_makes_the_waiting_be_asked_for() -> None:
    async with Rig() as rig:
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.acked)
        rig.commands.states[one.id] = b"done\nm\x01"
        rig.commands.next["attach"] = [Attached(True, 15000, b"0-0", [])]
        await rig.line.inbox.attach()
        assert await asyncio.wait_for(one.future, 1) == b"done\nm\x01"


async def test_an_entry_that_ran_out_of_time_says_how_far_it_came() -> None:
    async with Rig() as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        sending, new = entry(), entry()
        rig.line.submit(sending)
        await until(lambda: sending.state == SENDING)
        rig.line.submit(new)
        rig.line.expire(sending)
        rig.line.expire(new)
        for one, unknown in ((sending, True), (new, False)):
            with pytest.raises(Unavailable, match="did not take the task in") as caught:
                await one.future
            assert caught.value.unknown is unknown
        gate.set()
        acked = entry()
        rig.line.submit(acked)
        await until(lambda: acked.acked)
        rig.line.expire(acked)
        with pytest.raises(TaskExpired, match="no answer came") as late:
            await acked.future
        assert late.value.task_id == acked.id
        await until(lambda: len(rig.commands.sent("cancel")) == 2)


async def test_a_cancel_whose_reply_was_lost_is_sent_again_and_the_inbox_asked() -> None:
    async with Rig() as rig:
        one = entry(keep_s=60)
        rig.line.submit(one)
        await until(lambda: one.acked)
        rig.commands.next["cancel"] = [CUT, (Told(0, False, ["GONE"]), [])]
        assert await rig.line.cancel(one.id, "cancelled") == "GONE"
        # Nobody posts it: the first copy was ours. So it is not StateLost.
        assert await asyncio.wait_for(one.future, 1) == b"cancelled\n"


async def test_a_cancel_that_never_gets_through_is_an_error() -> None:
    async with Rig() as rig:
        rig.commands.next["cancel"] = [CUT] * 50
        with pytest.raises(Unavailable, match="link broke"):
            await rig.line.cancel("x" * 22, "cancelled")
        rig.commands.next["cancel"] = [ValueError("a bug")]
        with pytest.raises(ValueError, match="a bug"):
            await rig.line.cancel("x" * 22, "cancelled")
        assert await rig.line.cancel("x" * 22, "cancelled") == "CANCELLED"


async def test_many_cancels_go_in_calls_of_64_by_reason() -> None:
    async with Rig() as rig:
        words = [rig.line.cancel(f"{i:022}", "cancelled") for i in range(100)]
        words += [rig.line.cancel(f"{i:022}", "expired") for i in range(10)]
        assert set(await asyncio.gather(*words)) == {"CANCELLED"}
        assert sorted(len(ids) for ids in rig.commands.sent("cancel")) == [10, 36, 64]


async def test_what_redis_lost_is_told_to_its_waiter() -> None:
    async with Rig() as rig:
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.acked)
        rig.line.inbox.lost()
        with pytest.raises(StateLost) as caught:
            await asyncio.wait_for(one.future, 1)
        assert caught.value.task_id == one.id


async def test_closing_takes_out_what_waits_and_leaves_what_is_kept() -> None:
    rig = Rig()
    async with rig:
        sent, kept, gate = entry(), entry(keep_s=60), asyncio.Event()
        rig.line.submit(sent)
        rig.line.submit(kept)
        await until(lambda: kept.acked)
        rig.commands.gates["admit"] = gate
        flying = entry()
        rig.line.submit(flying)
        await until(lambda: flying.state == SENDING)
        new = entry()
        rig.line.submit(new)
        new.admitted = asyncio.get_running_loop().create_future()
    for one in (sent, kept, flying, new):
        assert isinstance(one.future.exception(), Unavailable)
    assert isinstance(new.admitted.exception(), Unavailable)
    assert rig.commands.sent("cancel")[0] == [sent.id, flying.id, new.id]
    assert new.id not in [one for ids in rig.commands.sent("admit") for one in ids]
    assert rig.reader.closed


async def test_closing_ends_turns_on_their_way_back() -> None:
    rig = Rig("hold")
    async with rig:
        back = rig.line.end("x" * 22, 5)
    assert await back == "OK"
    stuck = Rig("hold")
    stuck.commands.gates["publish"] = asyncio.Event()
    stuck.commands.gates["cancel"] = asyncio.Event()
    async with stuck:
        stuck.line.submit(waiting := entry())
        await until(lambda: waiting.acked)
        words = [stuck.line.end("x" * 22, 5)]
        await until(lambda: stuck.commands.sent("publish"))
        words += [stuck.line.end("x" * 22, 6), stuck.line.cancel("x" * 22, "cancelled")]
        await until(lambda: stuck.commands.sent("cancel"))
        words += [stuck.line.cancel("x" * 22, "expired")]
    for word in words:
        with pytest.raises(Unavailable, match="was closed"):
            await word


async def test_a_closed_line_refuses_at_once() -> None:
    async with Rig("hold") as rig:
        pass
    one = entry()
    for use in (
        lambda: rig.line.submit(one),
        lambda: rig.line.cancel(one.id, "cancelled"),
        lambda: rig.line.end(one.id, 1),
        lambda: rig.line.watch(one),
    ):
        with pytest.raises(Unavailable, match="was closed"):
            use()
    one.state = SENT
    rig.line.forget(one, "cancelled")
    rig.line.tidy(one.id)
    await rig.line.aclose()


async def test_another_event_loop_is_refused_at_once() -> None:
    async with Rig() as rig:

        async def elsewhere() -> None:
            with pytest.raises(ConfigError, match="another event loop"):
                rig.line.cancel("x" * 22, "cancelled")

        await asyncio.to_thread(asyncio.run, elsewhere())


@pytest.mark.parametrize("error", [CUT, ValueError("a bug")], ids=repr)
async def test_a_turn_that_can_not_be_given_back_is_told(error: Exception) -> None:
    async with Rig("hold") as rig:
        rig.commands.next["publish"] = [error] * 20
        with pytest.raises(type(error)):
            await rig.line.end("x" * 22, 5)
        rig.commands.next.clear()
        assert await rig.line.end("x" * 22, 5) == "OK"


async def test_turns_go_back_64_in_a_call_and_grants_in_the_reply_count() -> None:
    async with Rig("hold") as rig:
        one = entry()
        rig.line.submit(one)
        await until(lambda: one.acked)
        grant = Grant(one.id, 9, 60_000)
        rig.commands.next["publish"] = [_published(64, grant)]
        words = [rig.line.end(f"{i:022}", i) for i in range(70)]
        assert set(await asyncio.gather(*words)) == {"OK"}
        assert [len(ids) for ids in rig.commands.sent("publish")] == [64, 6]
        assert await one.future == b"granted\n9 60000"
        assert one.since > 0
        await until(lambda: rig.commands.sent("sweep"), what="a sweep, since there was more")


def _published(count: int, *grants: Grant) -> Any:
    return Published(0, True, ["OK"] * count, [], list(grants))


async def test_known_under_its_key_while_the_line_closes_is_told_as_closed() -> None:
    rig = Rig()
    gate = rig.commands.gates["admit"] = asyncio.Event()
    rig.commands.next["admit"] = [admitted("SAME " + "y" * 22)]
    rig.commands.gates["cancel"] = asyncio.Event()
    async with rig:
        rig.line.submit(lone := entry())
        keyed = entry(keep_s=60)
        await until(lambda: lone.state == SENDING)
        rig.line._sending.append(keyed)
        closing = asyncio.create_task(rig.line.aclose())
        await asyncio.sleep(0.01)
        gate.set()
        await closing
    with pytest.raises(Unavailable, match="was closed"):
        await lone.future


async def test_a_cancel_that_was_surely_not_sent_is_sent_again() -> None:
    async with Rig() as rig:
        rig.commands.next["cancel"] = [Unavailable("full", code="OOM")]
        assert await rig.line.cancel("x" * 22, "cancelled") == "CANCELLED"
        assert rig.commands.sent("fetch") == []
