"""The engine of a client: batches, refusals, mistakes; every future ends."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pyclient.commands import OldCallError
from pyclient.entry import SENDING
from pyclient.errors import (
    BadPayload,
    PeakError,
    QueueClosed,
    QueueFull,
    RateLimited,
    ScriptError,
    TooLate,
    Unavailable,
)
from pyclient.model import Bucket
from tests.pyclient.client_rig import until
from tests.pyclient.fakes import Rig, admitted, entry

CUT = Unavailable("the link broke", unknown=True)
FULL = Unavailable("full", code="OOM")


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyclient.line.PATIENCE_S", 0.15)
    monkeypatch.setattr("pyclient.cancels.PATIENCE_S", 0.15)


async def test_while_one_call_is_in_flight_the_next_gathers_and_of_many_only_half_go() -> None:
    async with Rig() as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        first = entry()
        rig.line.submit(first)
        await until(lambda: rig.commands.sent("admit"))
        others = [entry() for _ in range(100)]
        for one in others:
            rig.line.submit(one)
        gate.set()
        await until(lambda: all(one.acked for one in others))
        assert [len(ids) for ids in rig.commands.sent("admit")] == [1, 50, 32, 18]


async def test_a_batch_has_at_most_256_kib_unless_one_body_is_larger() -> None:
    async with Rig() as rig:
        several = [entry() for _ in range(6)]
        for one, size in zip(several, (100, 200, 100, 400, 10, 10), strict=True):
            one.body = b"m" * (size << 10)
            rig.line.submit(one)
        await until(lambda: all(one.acked for one in several))
        assert [len(ids) for ids in rig.commands.sent("admit")] == [1, 1, 1, 1, 2]
        assert {one.body for one in several} == {b""}, "Redis has them now"


async def test_profiles_and_buckets_travel_once() -> None:
    async with Rig() as rig:
        bucket, other = Bucket("b", 1, 1000, 5), Bucket("c", 1, 1000, 5)
        several = [entry(), entry(), entry(level=4), entry(), entry(options="same=a:b")]
        several[2].buckets = (bucket, other)
        several[4].buckets = (bucket,)
        sent: list[Any] = []

        async def admit(*args: Any) -> Any:
            sent.append(args)
            return admitted("OK", count=5)

        rig.line.commands.admit = admit  # type: ignore[assignment,method-assign]
        for one in several:
            rig.line.submit(one)
        await until(lambda: several[4].acked)
        _, _, _, _, buckets, profiles, tasks = sent[0]
        assert buckets == [bucket, other]
        assert [profile.options for profile in profiles] == [
            "",
            "take=1:1,2:1",
            "same=a:b;take=1:1",
        ]
        assert [number for number, _, _ in tasks] == [1, 1, 2, 1, 3]


@pytest.mark.parametrize(
    ("word", "kind", "retry_after"),
    [
        ("CLOSED for lunch", QueueClosed, None),
        ("CLOSED ", QueueClosed, None),
        ("FULL 1500", QueueFull, 1.5),
        ("ROOM 250", QueueFull, 0.25),
        ("LATE 100", TooLate, 0.1),
        ("LIMITED 20", RateLimited, 0.02),
        ("NEVER", RateLimited, None),
        ("CONFLICT " + "x" * 22, BadPayload, None),
    ],
)
async def test_each_refusal_is_its_error(
    word: str, kind: type[Exception], retry_after: float | None
) -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [admitted("OK", word)]
        fine, refused = entry(), entry()
        rig.line.submit(fine)
        rig.line.submit(refused)
        with pytest.raises(kind) as caught:
            await refused.future
        assert getattr(caught.value, "retry_after", None) == retry_after
        assert not fine.future.done()
        assert len(rig.line.inbox) == 1
        if "lunch" in word:
            assert "for lunch" in str(caught.value)


async def test_one_task_that_the_script_refuses_does_not_hurt_the_others() -> None:
    async with Rig() as rig:
        several = [entry() for _ in range(20)]
        bad = several[7]

        async def admit(*args: Any) -> Any:
            ids = [task_id for _, task_id, _ in args[-1]]
            if bad.id in ids:
                raise ScriptError("BADARG", "body: too large")
            return admitted("OK", count=len(ids))

        rig.line.commands.admit = admit  # type: ignore[assignment,method-assign]
        for one in several:
            rig.line.submit(one)
        with pytest.raises(ScriptError, match="too large"):
            await bad.future
        await until(lambda: all(one.acked for one in several if one is not bad))
        assert len(rig.line.inbox) == 19


async def test_a_mistake_of_this_program_fails_its_task_loudly_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Rig() as rig:
        bad, fine = entry(), entry()
        bad.profile = None  # type: ignore[assignment]
        bad.buckets = (Bucket("b", 1, 1, 1),)
        rig.line.submit(bad)
        rig.line.submit(fine)
        with caplog.at_level(logging.ERROR), pytest.raises(AttributeError):
            await bad.future
        await until(lambda: fine.acked)
        assert "mistake of this program" in caplog.text
        assert caplog.records[0].exc_info is not None


async def test_a_reply_of_another_length_hurts_nobody_for_ever() -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [admitted("OK", "OK", "OK"), admitted()]
        several = [entry() for _ in range(2)]
        for one in several:
            rig.line.submit(one)
        await until(lambda: all(one.acked or one.future.done() for one in several))


async def test_a_queue_of_the_other_mode_is_told_to_all_at_once() -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [ScriptError("BADMODE", "this queue is hold, for good")]
        several = [entry() for _ in range(30)]
        ends = await asyncio.gather(
            *(rig.line.submit(one) for one in several), return_exceptions=True
        )
        assert all("BADMODE" in str(end) for end in ends)
        assert len(set(map(id, ends))) == 30, "each waiter has an exception of its own"
        assert len(rig.commands.sent("admit")) == 1
        assert rig.commands.sent("cancel") == []


async def test_an_unknown_reply_is_asked_for_again_and_at_last_the_tasks_are_cancelled() -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [CUT] * 100
        lone, keyed = entry(), entry(keep_s=60)
        rig.line.submit(lone)
        rig.line.submit(keyed)
        for one in (lone, keyed):
            with pytest.raises(Unavailable) as caught:
                await one.future
            assert caught.value.unknown
        assert len(rig.commands.sent("admit")) > 1
        await until(lambda: rig.commands.sent("cancel"))
        assert rig.commands.sent("cancel") == [[lone.id]], "the other may be asked for by its key"
        assert len(rig.line.inbox) == 0


async def test_what_surely_did_not_run_is_not_cancelled() -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [FULL]
        with pytest.raises(Unavailable, match="full"):
            await rig.line.submit(entry())
        assert rig.commands.sent("cancel") == []


async def test_after_a_long_outage_those_behind_do_not_wait_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyclient.line.PATIENCE_S", 1.05)
    async with Rig() as rig:
        rig.commands.next["admit"] = [CUT] * 1000
        several = [entry() for _ in range(200)]
        futures = [rig.line.submit(one) for one in several]
        ends = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 2)
        assert all(isinstance(end, Unavailable) for end in ends)
        assert sum(getattr(end, "unknown", None) is True for end in ends) == 64


async def test_a_call_that_came_too_late_is_an_error() -> None:
    async with Rig() as rig:
        rig.commands.next["admit"] = [OldCallError("admit: the caller has gone on")]
        with pytest.raises(PeakError, match="gone on"):
            await rig.line.submit(entry())


async def test_an_inbox_that_is_gone_is_made_and_its_tasks_sent_again_in_order() -> None:
    async with Rig() as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        rig.commands.next["admit"] = [admitted("OK", "NOINBOX", "FULL 10", "NOINBOX", "NOINBOX")]
        several = [entry() for _ in range(5)]
        for one in several:
            rig.line.submit(one)
        await until(lambda: several[4].state == SENDING)
        rig.line.expire(several[4])
        gate.set()
        await until(lambda: several[3].acked)
        ids = [several[index].id for index in (1, 3)]
        assert rig.commands.sent("admit")[1] == ids
        assert isinstance(several[2].future.exception(), QueueFull)


async def test_an_inbox_that_can_not_be_made_fails_its_tasks() -> None:
    async with Rig() as rig:
        await asyncio.sleep(0)
        rig.commands.next["admit"] = [admitted("NOINBOX", "OK")]
        rig.commands.next["attach"] = [FULL] * 50
        first, second = entry(), entry()
        rig.line.submit(first)
        rig.line.submit(second)
        with pytest.raises(Unavailable, match="full"):
            await first.future
        assert second.acked
        assert not second.future.done()


async def test_a_value_that_overtook_the_lost_reply_stands() -> None:
    async with Rig("hold") as rig:
        gate = rig.commands.gates["admit"] = asyncio.Event()
        rig.commands.next["admit"] = [CUT] * 50
        one = entry()
        one.admitted = rig.line.loop.create_future()  # as `submit` waits
        rig.line.submit(one)
        await until(lambda: one.state == SENDING)
        rig.line.inbox.take(one.id, b"granted\n5 9", 1.0)
        gate.set()
        await asyncio.sleep(0.4)
        assert await one.future == b"granted\n5 9"
        assert one.admitted.done()
        assert rig.commands.sent("cancel") == [], "a cancel would end the turn that is in use"
