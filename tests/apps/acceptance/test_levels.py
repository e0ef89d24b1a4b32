"""B17–B20: which paths are urgent, read off the health page while requests wait."""

from __future__ import annotations

import pytest

from tests.servers import Server

from .rawclient import connected, request
from .rig import Site, site


def levels(here: Site, *paths: bytes) -> list[str]:
    """The level of each path: no worker is there, so its request waits until its client goes."""
    found = []
    for path in paths:
        with connected(here.port) as client:
            client.send(request(b"GET", path))
            here.waiting(1)
            (level,) = [name for name, count in here.gauge()["queue"].items() if count]
            found.append(level)
        here.waiting(0)
    return found


LISTED = {"FAST_PRIORITY_PRIO_PATHS": "slow, /lead,tail/ , a b,\u00e4"}
MATCHED = (b"/slow", b"/slow/", b"/lead", b"/lead/", b"/tail", b"/tail/", b"/a%20b", b"/%C3%A4")
OTHERS = (b"/", b"/slower", b"/slow/x", b"/x/slow", b"/Slow", b"/slow%2F%2F", b"/tai")


@pytest.mark.parametrize("mode", ["unlisted", "listed"])
def test_b17_b19_listed_paths_are_low_or_high_by_mode(redis: Server, mode: str) -> None:
    listed, other = ("low", "high") if mode == "unlisted" else ("high", "low")
    with site(redis, **LISTED, FAST_PRIORITY_HIGH_PRIO_PATHS=mode) as here:
        here.gateway()
        assert set(levels(here, *MATCHED)) == {listed}
        assert set(levels(here, *OTHERS)) == {other}
        assert levels(here, b"/slow?a=1/x", b"/slower?/slow") == [listed, other]


def test_b18_b19_base_paths_match_whole_segments(redis: Server) -> None:
    matched = (b"/report", b"/report/", b"/report/a/b", b"/deep/er/c", b"/x/y", b"/report/a%2Fb")
    others = (b"/reports", b"/report.csv", b"/deep", b"/deep/era", b"/xy", b"/a/report")
    with site(redis, FAST_PRIORITY_PRIO_BASE_PATHS="report,/deep/er/, x/") as here:
        here.gateway()
        assert set(levels(here, *matched)) == {"low"}
        assert set(levels(here, *others)) == {"high"}


@pytest.mark.parametrize("off", ["0", "false"])
def test_b20_without_normalizing_a_slash_makes_a_difference(redis: Server, off: str) -> None:
    env = {"FAST_PRIORITY_PRIO_PATHS": "one, two/", "FAST_PRIORITY_NORMALIZE_PATHS": off}
    with site(redis, **env) as here:
        here.gateway()
        got = levels(here, b"/one", b"/one/", b"/two", b"/two/")
        assert got == ["low", "high", "high", "low"]
