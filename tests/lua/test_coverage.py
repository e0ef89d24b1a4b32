"""Every line of the scripts runs, and every word that a header declares is said."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from pyclient.scripts import Script
from tests.property.driver import PREFIX, Arg, encode, scripts_with_test_clock
from tests.property.stories import Stories
from tests.servers import Server

from .bridge import Bridge, lines_of
from .conftest import scripts_root
from .scenario import TOURS
from .scenario_raw import RAW


class Bridged(Stories):
    """Clients whose scripts run in our own interpreter."""

    bridge: Bridge

    def raw(self, verb: str, *args: Arg) -> Any:
        return self.bridge.call(self.scripts[verb], PREFIX, [encode(a) for a in args])


def test_every_line_runs(server: Server) -> None:
    scripts = scripts_with_test_clock()
    bridge = Bridge(server.client(protocol=2))

    def make() -> Stories:
        line = Bridged(server.client(protocol=2), scripts)
        line.bridge = bridge
        return line

    for tour in (*TOURS, *RAW):
        tour(make)
    server.client().flushall()
    missing = unreached(scripts, bridge.hits)
    texts = {place: _text(place) for place in sorted(missing)}
    assert not texts, "\n".join(f"{file}:{line}: {text}" for (file, line), text in texts.items())


def unreached(scripts: dict[str, Script], hits: dict[str, Counter[int]]) -> set[tuple[str, int]]:
    """Lines of files that no bundle has run. The clock of the test stands in for the product's."""
    all_lines: set[tuple[str, int]] = set()
    run: set[tuple[str, int]] = set()
    for name, script in scripts.items():
        all_lines |= {script.locate(line) for line in lines_of(script)}
        run |= {script.locate(line) for line in hits.get(name, ())}
    return {place for place in all_lines - run if place[0] != "lib/clock.lua"}


def _text(place: tuple[str, int]) -> str:
    lines = (scripts_root() / place[0]).read_text(encoding="utf-8").splitlines()
    return lines[place[1] - 1].strip()


def test_every_declared_word_is_said(server: Server) -> None:
    scripts = scripts_with_test_clock()
    seen: Counter[str] = Counter()

    def make() -> Stories:
        return Stories(server.client(), scripts, seen)

    for tour in TOURS:
        tour(make)
    server.client().flushall()
    for name, script in scripts.items():
        silent = [word for word in script.header.words if not seen[f"{name} {word}"]]
        assert not silent, f"{name} never said {silent}"
        if any(word == "OLD" for word, _ in script.header.returns):
            assert seen[f"old {name}"], f"{name} never said OLD"
            assert seen[f"replay {name}"], f"{name} was never replayed"


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_have_one_shape_under_both_protocols(server: Server, protocol: int) -> None:
    """Arrays, integers and byte strings only: the model compares each reply."""
    client = server.client(protocol=protocol)
    scripts = scripts_with_test_clock()
    TOURS[2](lambda: Stories(client, scripts))
    client.flushall()
