"""One running system a module, for the cases that need no settings of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import Server

from .rawtarget import answer
from .rig import Site, site


@pytest.fixture(scope="module")
def _running(redis: Server) -> Iterator[Site]:
    with site(redis) as here:
        here.up(1, 8)
        yield here


@pytest.fixture
def here(_running: Site) -> Site:
    """Gateway and worker with the defaults, and a target that has forgotten earlier tests."""
    _running.target.seen.clear()
    _running.target.answers.clear()
    _running.target.default = answer(b"fine")
    return _running
