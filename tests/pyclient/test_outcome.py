"""Values as results, or as the errors that they stand for; bodies that travel beside."""

from __future__ import annotations

import logging

import pytest

from pyclient.entry import copy_of, may_have_run
from pyclient.errors import (
    BadPayload,
    PeakError,
    QueueFull,
    ScriptError,
    StateLost,
    TaskCancelled,
    TaskDead,
    TaskError,
    TaskExpired,
    TaskFailed,
    TaskLost,
    Unavailable,
)
from pyclient.keys import Keys
from pyclient.model import Outcome
from pyclient.outcome import Bodies, error_of, is_large
from tests.pyclient.connection_rig import connected
from tests.servers import Server

ID = "x" * 22


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (b"failed\nValueError: no\nreally", TaskFailed, "ValueError: no\nreally"),
        (b"failed\n", TaskFailed, "the handler failed"),
        (b"expired\n", TaskExpired, "not served before its deadline"),
        (b"cancelled\nthe owner is gone", TaskCancelled, "the owner is gone"),
        (b"lost\n", TaskLost, "its worker was lost and no attempt was left"),
        (b"dead\n\xff", TaskDead, "�"),
        (b"granted\n5 6", BadPayload, f"task {ID} ended with the unknown outcome 'granted'"),
        (b"\xff\n", BadPayload, f"task {ID} ended with the unknown outcome '�'"),
        (b"", BadPayload, f"task {ID} ended with the unknown outcome ''"),
    ],
)
def test_each_outcome_is_its_error(value: bytes, kind: type[PeakError], text: str) -> None:
    error = error_of(ID, Outcome.of(value))
    assert type(error) is kind
    assert str(error) == text
    if isinstance(error, TaskError):
        assert error.task_id == ID


@pytest.mark.parametrize(
    ("body", "large"), [(b"m", False), (b"r", False), (b"M", True), (b"R", True), (b"", False)]
)
def test_a_body_by_reference_is_known(body: bytes, large: bool) -> None:  # noqa: FBT001
    assert is_large(body) is large


async def test_large_bodies_are_stored_read_and_removed(server: Server, queue_name: str) -> None:
    client = server.client()
    async with connected(server.url) as conn:
        keys = Keys("peak", queue_name)
        bodies = Bodies(conn, keys, max_bytes=100)
        assert await bodies.put(ID, b"mabc", 5000) == b"M"
        assert client.get(keys.request_body(ID)) == b"abc"
        assert 0 < client.pttl(keys.request_body(ID)) <= 5000
        with pytest.raises(BadPayload, match="101 bytes, expected at most 100"):
            await bodies.put(ID, b"m" * 101, 5000)
        assert await bodies.result(ID, b"done\nmxyz") == b"mxyz"
        client.set(keys.answer_body(ID), b"xyz", px=5000)
        assert await bodies.result(ID, b"done\nR") == b"rxyz"
        with pytest.raises(TaskLost):
            await bodies.result(ID, b"lost\n")
        await bodies.drop(ID, answer=False)
        assert client.keys("*body*") == [keys.answer_body(ID)]
        await bodies.drop(ID)
        assert client.keys("*body*") == []
        with pytest.raises(StateLost, match="is gone") as caught:
            await bodies.result(ID, b"done\nM")
        assert caught.value.task_id == ID


async def test_bodies_that_can_not_be_removed_are_no_error(
    server: Server, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(server.url) as conn:
        bodies = Bodies(conn, Keys("peak", queue_name))
        await conn.aclose()
        with caplog.at_level(logging.DEBUG):
            await bodies.drop(ID)
        assert "stay until their time is over" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("away", code="CUT", unknown=True),
        ScriptError("BADARG", "no"),
        QueueFull("full", retry_after=1.5),
        TaskLost("lost", task_id=ID),
        ValueError("a bug", 5),
    ],
    ids=repr,
)
def test_a_copy_of_an_error_is_like_it(error: Exception) -> None:
    error.__cause__ = KeyError("why")
    twin = copy_of(error)
    assert twin is not error
    assert type(twin) is type(error)
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))
    assert twin.__cause__ is error.__cause__
    assert twin.__traceback__ is None


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (Unavailable("x"), False),
        (Unavailable("x", unknown=True), True),
        (ScriptError("BADARG", "x"), False),
        (ValueError("a bug"), True),
    ],
    ids=repr,
)
def test_what_may_have_run_is_known(error: Exception, may: bool) -> None:  # noqa: FBT001
    assert may_have_run(error) is may
