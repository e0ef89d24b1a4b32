"""Stacks that the tests of a module share: one Valkey, one target, one gateway, one worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers

from .stack import Gateway, Process, Stack, holding, started
from .target import Target


@pytest.fixture(scope="module")
def _worker_stack(
    redis: servers.Server, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    env = {
        "PEAK_REDIS_URL": redis.url,
        "FAST_PRIORITY_TARGET_BASE_URL": target.url,
        "FAST_PRIORITY_PRIO_BASE_PATHS": "low",
        "PEAK_UPSTREAM_TIMEOUT": "2",
        "PEAK_WORKER_CONCURRENCY": "8",
    }
    home: Path = tmp_path_factory.mktemp("worker-mode")
    gateway = Gateway(env, home)
    worker = Process(["worker_app"], env, home)
    with started(gateway, worker):
        yield Stack(gateway.ready().port, target, gateway, worker, redis)


@pytest.fixture(scope="module")
def _hold_stack(
    redis: servers.Server, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    more = {"PEAK_CONCURRENCY": "2", "PEAK_UPSTREAM_TIMEOUT": "2"}
    with holding(redis, target, tmp_path_factory.mktemp("hold-mode"), **more) as stack:
        yield stack


@pytest.fixture
def stack(_worker_stack: Stack) -> Stack:
    """A gateway in worker mode with one worker, shared by the module; the target as new."""
    _worker_stack.target.reset()
    return _worker_stack


@pytest.fixture
def hold(_hold_stack: Stack) -> Stack:
    """A gateway in hold mode with two slots, shared by the module; the target as new."""
    _hold_stack.target.reset()
    return _hold_stack
