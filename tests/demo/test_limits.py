"""What the demo takes from the machine: never less than it had, and never more than it may."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Iterator

import pytest

from pyclient.demo import limits

FILES = resource.RLIMIT_NOFILE


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit of open files, behind a soft one as shells give it."""
    before = resource.getrlimit(FILES)
    resource.setrlimit(FILES, (1024, before[1]))
    yield before[1]
    resource.setrlimit(FILES, before)


@pytest.mark.parametrize("wanted", [1025, 2048])
def test_the_limit_is_raised_to_what_is_wanted(
    hard: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WANTED", wanted)
    assert limits.raise_file_limit() == wanted
    assert resource.getrlimit(FILES) == (wanted, hard)


def test_what_is_more_than_the_system_gives_is_not_asked_for(
    hard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WANTED", hard + 1)
    assert limits.raise_file_limit() == hard
    assert resource.getrlimit(FILES) == (hard, hard)


@pytest.mark.parametrize("wanted", [1023, 1024])
def test_what_is_enough_stays(hard: int, wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WANTED", wanted)
    assert limits.raise_file_limit() == 1024
    assert resource.getrlimit(FILES) == (1024, hard)


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_a_system_that_allows_less_than_it_says_leaves_what_there_was(
    hard: int, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise error("as macOS does")

    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refuses)
        patched.setattr(limits, "WANTED", 2048)
        assert limits.raise_file_limit() == 1024
    assert resource.getrlimit(FILES) == (1024, hard)


def test_a_system_without_limits_gives_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: endless)
    assert limits.raise_file_limit() == limits.WANTED


def loop_of_run_fast() -> str:
    """The package of the loop that it runs on."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())

    limits.run_fast(main())
    (loop,) = loops
    assert loop.is_closed()
    return type(loop).__module__.partition(".")[0]


def test_it_runs_on_uvloop_where_there_is_one() -> None:
    pytest.importorskip("uvloop")
    assert loop_of_run_fast() == "uvloop"


def test_without_uvloop_it_runs_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_of_run_fast() == "asyncio"
