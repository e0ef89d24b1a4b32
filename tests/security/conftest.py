"""One gateway for the tests of a module: in hold mode, with short patience and small bodies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.gateway.stack import Stack, holding
from tests.gateway.target import Target


@pytest.fixture(scope="module")
def _hold(
    redis: servers.Server, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    more = {
        "FAST_PRIORITY_PASS_THROUGH": "up",
        "PEAK_CONCURRENCY": "8",
        "PEAK_CLIENT_TIMEOUT": "1",
        "PEAK_MAX_BODY": "1MiB",
    }
    with holding(redis, target, tmp_path_factory.mktemp("hold"), **more) as stack:
        yield stack


@pytest.fixture
def hold(_hold: Stack) -> Stack:
    """The gateway; its target as new."""
    _hold.target.reset()
    return _hold
