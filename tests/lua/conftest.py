"""Fixtures: the product's scripts, and the same on the clock of the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyclient.scripts import Script, load_scripts, lua_root
from tests.property.driver import scripts_with_test_clock
from tests.property.stories import Stories
from tests.servers import Server

from .rig import Rig


def scripts_root() -> Path:
    """Where the scripts under test are."""
    given = os.environ.get("PEAK_TEST_LUA")
    return Path(given) if given else lua_root()


@pytest.fixture(scope="session")
def scripts() -> dict[str, Script]:
    """The bundles of the product."""
    return load_scripts(scripts_root())


@pytest.fixture
def rig(server: Server, scripts: dict[str, Script]) -> Iterator[Rig]:
    """Plain calls on the server's own clock."""
    yield Rig(server.client(), scripts)
    server.client().flushall()


@pytest.fixture
def line(server: Server) -> Iterator[Stories]:
    """Clients on the clock of the test, every call explained by the model."""
    found = Stories(server.client(), scripts_with_test_clock())
    yield found
    server.client().flushall()
