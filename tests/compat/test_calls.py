"""Calls and what comes of them: A01 to A04, A24 to A31."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.servers import Server

from .rig import Refusal, Site, site, took, until
from .seed import DistributedTaskApplyManager

ROUTES = {
    "/": "starred",
    "/sleepy": "sleepy",
    "/awake": "awake",
    "/echo": "echo",
    "/broken": "broken",
    "/wide": "wide",
    "/odd": "odd",
    "/leave": "leave",
    "/grave": "grave",
    "/grave_too": "grave_too",
}


@asynccontextmanager
async def serving(
    server: Server, folder: Path, routes: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Site]:
    async with site(server, folder) as made:
        made.node(routes or ROUTES, **{"threads": 8, **options})
        await made.ready(*(routes or ROUTES))
        yield made


async def test_a01_an_idle_system_answers_within_50_ms(server: Server, tmp_path: Path) -> None:
    async with serving(server, tmp_path) as at:
        await at.call("/")  # the first one connects
        best = 1.0
        for _ in range(5):
            begun = time.monotonic()
            assert await at.call("/") == (True, "2 None")
            best = min(best, time.monotonic() - begun)
        assert best < 0.05


async def test_a02_sync_code_does_not_block_async_code(server: Server, tmp_path: Path) -> None:
    async with serving(server, tmp_path, threads=2) as at:
        with took(0.6, 1.1):
            answers = await asyncio.gather(
                at.call("/awake", {"seconds": 0.6}), at.call("/sleepy", {"seconds": 0.6})
            )
    assert [*answers] == [(True, "awake"), (True, "slept")]


async def test_a03_an_exception_is_told_at_once_as_text(server: Server, tmp_path: Path) -> None:
    async with serving(server, tmp_path) as at:
        await at.call("/")
        with took(0, 0.1):
            answer = await at.call("/broken", {"text": "sälve: é"})
        assert answer == (False, "<class 'KeyError'>:'sälve: é'")
        ok, text = await at.call("/broken", {"wrong": 1})
        assert not ok
        assert text.startswith("<class 'TypeError'>:")
        assert await at.call("/leave") == (False, "<class 'SystemExit'>:3")
        assert await at.call("/") == (True, "2 None")


async def test_a03_whatever_a_function_raises(server: Server, tmp_path: Path) -> None:
    texts = {
        "mute": "<class 'tests.compat.functions.Mute'>:(its text can't be had)",
        "ctrl-c": "<class 'KeyboardInterrupt'>:",
        "cancelled": "<class 'asyncio.exceptions.CancelledError'>:4",
    }
    async with serving(server, tmp_path) as at:
        for path in ("/grave", "/grave_too"):
            for which, text in texts.items():
                assert await at.call(path, {"which": which}) == (False, text)
        assert await at.call("/") == (True, "2 None")


VALUES: list[Any] = [
    None,
    b"\x00\xff\xfe",
    {"a": [1, {"b": None}], "ü": -1.5},
    "\u2028 漢字 \U0001f600",
    "x" * 2_000_000,
    b"\x80" * 300_000,
    [True, False, 2**63],
    {"fastapi_queue": 1},
    "",
]


async def test_a04_values_arrive_as_they_were(server: Server, tmp_path: Path) -> None:
    async with serving(server, tmp_path) as at:
        for value in VALUES:
            assert await at.call("/echo", {"value": value}) == (True, value)
        await until(lambda: not [key for key in at.raw.keys("*") if b":body:" in key])


async def test_a24_a_route_that_nobody_made_known_is_refused_at_once(
    server: Server, tmp_path: Path
) -> None:
    async with serving(server, tmp_path) as at:
        await at.call("/")
        with took(0, 0.2), pytest.raises(Refusal):
            await at.call("/never")
        manager = DistributedTaskApplyManager(at.client, "/never")
        async with manager:
            assert await manager.rclt() == (False, -1)
        assert "/never" in str(manager.error)


async def test_a25_a_route_without_a_function_is_an_error_at_once(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/": "starred"}, {"/": 5, "/none": 5})
        await at.ready("/none")
        await at.call("/")
        with took(0, 0.1):
            ok, text = await at.call("/none", process_timeout=3)
    assert not ok
    assert "no function is registered" in text


async def test_a26_a_result_that_cant_be_carried_is_an_error_at_once(
    server: Server, tmp_path: Path
) -> None:
    async with serving(server, tmp_path) as at:
        await at.call("/")
        for path in ("/wide", "/odd"):
            with took(0, 0.2):
                ok, text = await at.call(path)
            assert not ok
            assert "can't be carried" in text


async def test_a27_a_form_that_cant_be_carried_is_an_error_and_the_room_comes_back(
    server: Server, tmp_path: Path
) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/echo": "echo"}, {"/echo": 1})
        await at.ready("/echo")
        await at.call("/echo")
        for value in (object(), {1, 2}, 2**64):
            with took(0, 0.1):
                ok, text = await at.call("/echo", {"value": value})
            assert not ok
            assert "form_data" in text
            assert await at.free("/echo", 1) == 1


PATHS = ["/x:y", "/ä ö/ü", "/a%2Fb?c={d}", "/" + "long/" * 60, "漢字", "", "@at", "*|\x00", "/x"]


async def test_a28_any_path_works(server: Server, tmp_path: Path) -> None:
    async with serving(server, tmp_path, dict.fromkeys(PATHS, "echo")) as at:
        for path in PATHS:
            assert await at.call(path, {"value": path}) == (True, path)


@pytest.mark.parametrize("level", [10, 12, -1, "x", 1.0, None, True])
async def test_a29_levels_outside_0_to_9_raise_value_error(
    server: Server, tmp_path: Path, level: Any
) -> None:
    async with site(server, tmp_path) as at:
        manager = DistributedTaskApplyManager(at.client, "/any")
        async with manager:
            with pytest.raises(ValueError, match="task_level"):
                await manager.rclt(form_data={}, task_level=level)


async def test_a30_functions_are_known_by_kind_and_not_by_name(
    server: Server, tmp_path: Path
) -> None:
    names = "add other partial async_partial object async_object lambda".split()
    async with serving(server, tmp_path, {f"/{name}": name for name in names}) as at:
        assert await at.call("/add", {"a": 2, "b": 5}) == (True, 7)
        assert await at.call("/other", {"text": "so"}) == (True, "SO")
        assert await at.call("/partial", {"a": 2}) == (True, 42)
        assert await at.call("/async_partial") == (True, "PART")
        assert await at.call("/object", {"x": 7}) == (True, 21)
        assert await at.call("/async_object", {"x": 7}) == (True, 35)
        assert await at.call("/lambda", {"text": "ok"}) == (True, "OK")


async def test_a31_functions_get_redis_and_mysql_and_the_form(
    server: Server, tmp_path: Path
) -> None:
    async with serving(server, tmp_path) as at:
        assert await at.call("/") == (True, "2 None")
        answer = await at.call("/echo", {"value": 1, "more": "x"})
        assert answer == (True, {"value": 1, "more": "x"})
        assert await at.call("/sleepy", {"name": "noting"}) == (True, "noting")
        assert at.noted() == ["began noting", "ended noting"]
