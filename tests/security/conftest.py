"""One gateway for all tests of HTTP here: in hold mode, with short patience and small bodies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import servers
from tests.gateway.conftest import Stack
from tests.gateway.stack import Gateway, started
from tests.gateway.target import Target, running


@pytest.fixture(scope="session")
def redis() -> Iterator[servers.Server]:
    with servers.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    with running() as target:
        yield target


@pytest.fixture(scope="session")
def _hold(
    redis: servers.Server, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    env = {
        "PEAK_REDIS_URL": redis.url,
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PASS_THROUGH": "up",
        "PEAK_MODE": "hold",
        "PEAK_CONCURRENCY": "8",
        "PEAK_QUEUE": "held",
        "PEAK_CLIENT_TIMEOUT": "1",
        "PEAK_MAX_BODY": "1MiB",
    }
    with started(gateway := Gateway(env, tmp_path_factory.mktemp("hold"))):
        yield Stack(gateway.ready().port, target, gateway, None, redis)


@pytest.fixture
def hold(_hold: Stack) -> Stack:
    """The gateway; its target as new."""
    _hold.target.reset()
    return _hold
