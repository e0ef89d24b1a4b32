"""Fixtures and rules for all tests.

* `server` is a fresh, empty Valkey: the same process for a whole run, flushed before each test.
* An `async def` test runs under `asyncio.run` and must not leave tasks behind.
* After each test no key and no process may be left, see leaks.py.
"""

from __future__ import annotations

import asyncio
import inspect
import secrets
import signal
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from pyclient.cli.acl import ROLES

from . import leaks, servers
from .gateway.target import Target, running
from .servers import Server

hypothesis.settings.register_profile(
    "peak",
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("peak")
_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which server and protocol stand behind the fixture `server`."""
    parser.addoption("--server", choices=["valkey", "redis"], default="valkey")
    parser.addoption("--protocol", choices=["2", "3"], default="3")
    parser.addoption(
        "--role",
        action="append",
        default=[],
        choices=sorted(ROLES),
        help="what is tested connects as a user of this role (given twice: of both), and may not "
        "be denied anything",
    )
    parser.addoption(
        "--served", action="store_true", help="only tests that use that server, save for `once`"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Settings that reach further than fixtures."""
    servers.PROTOCOL = int(config.getoption("--protocol"))
    servers.ROLES = tuple(config.getoption("--role"))
    leaks.set_mark()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as scripts leave it in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, saying why, what wants a server that this machine lacks."""
    missing = servers.why_no_redis()
    if missing and config.getoption("--server") == "redis":
        raise pytest.UsageError(f"--server redis: {missing}")
    for item in items if missing else ():
        if item.get_closest_marker("needs_redis"):
            item.add_marker(pytest.mark.skip(reason=missing))
    if servers.ROLES:
        items[:] = [item for item in items if _takes_roles(item)]
    if config.getoption("--served"):
        items[:] = [item for item in items if _is_served(item)]


def _is_served(item: pytest.Item) -> bool:
    return "server" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("once")


def _takes_roles(item: pytest.Item) -> bool:
    """Not tests of the scripts and of bare connections: those run commands that no role needs."""
    folder = item.path.parent.name
    return folder in ("worker", "gateway", "asgi", "cli", "examples", "security") or (
        folder == "pyclient" and not item.path.name.startswith(("test_connection", "test_durab"))
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note whether the test itself failed: leaks of a failed one say nothing new."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        await pyfuncitem.obj(**arguments)
        for _ in range(10):  # what was cancelled may need a turn or two
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"the test left tasks running: {left}")

    asyncio.run(run())
    return True


@pytest.fixture(autouse=True)
def _no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = leaks.children()
    yield
    if request.node.get_closest_marker("leaves_processes"):
        return
    left = leaks.leaked_processes(before)
    if left and not request.node.stash.get(_FAILED, False):
        pytest.fail(f"processes left behind (killed now): {left}")


@pytest.fixture(scope="session")
def _session_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    kind = request.config.getoption("--server")
    with servers.redis_server() if kind == "redis" else servers.valkey() as server:
        yield server


@pytest.fixture(scope="session")
def _session_redis() -> Iterator[Server]:
    with servers.redis_server() as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest, _session_server: Server) -> Iterator[Server]:
    """An empty server (Valkey, or what `--server` says), checked for leaked keys afterwards."""
    yield from _emptied(request, _session_server)


@pytest.fixture
def redis_debian(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The same with the redis-server of this machine; skips where there is none."""
    missing = servers.why_no_redis()
    if missing:
        pytest.skip(missing)
    yield from _emptied(request, request.getfixturevalue("_session_redis"))


@pytest.fixture(scope="module")
def redis() -> Iterator[Server]:
    """A Valkey for the processes that the tests of a module share."""
    with servers.valkey() as server:
        yield server


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A scripted API for them."""
    with running() as target:
        yield target


@pytest.fixture
def queue_name() -> str:
    """A name that no other test uses."""
    return f"q{secrets.token_hex(5)}"


def _emptied(request: pytest.FixtureRequest, server: Server) -> Iterator[Server]:
    if not server.running():
        server.restart()
    client = server.client()
    before = client.config_get()
    client.flushall()
    client.script_flush()
    client.execute_command("ACL", "LOG", "RESET")
    yield server
    try:
        _check(request, server, before)
    finally:
        server.hang_up()


def _check(request: pytest.FixtureRequest, server: Server, before: dict[Any, Any]) -> None:
    """Settings as they were, nothing denied, and no key left."""
    marker = request.node.get_closest_marker("leaves_keys")
    failed = request.node.stash.get(_FAILED, False)
    if not server.running():
        return
    client = server.client()
    for name, value in set(before.items()) - set(client.config_get().items()):
        client.config_set(str(name), str(value))
    if failed:
        return
    denied = [entry for entry in client.acl_log() if entry["username"] == servers.USER]
    if denied:
        pytest.fail(f"the roles {servers.ROLES} were denied: {denied}")
    left = leaks.settled_keys(
        client, living=marker is not None, patterns=marker.args if marker else ()
    )
    if left:
        pytest.fail("keys left without a TTL: " + ", ".join(left))
