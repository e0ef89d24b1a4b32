"""What doctor says of the users of Redis, and as which user it may look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from pyclient.cli.acl import rules
from tests.cli.support import run
from tests.faultproxy import FaultProxy
from tests.servers import Server, valkey

from .orders import doctor, findings


def test_doctor_as_the_operator_is_never_denied(server: Server, orders: redis.Redis) -> None:
    orders.execute_command("ACL", "LOG", "RESET")
    orders.execute_command("ACL", "SETUSER", "peak-operator", *rules("operator", "peak"), ">pw")
    try:
        url = server.address.replace("unix://", "unix://peak-operator:pw@")
        done = run("doctor", "--queue", "orders", "--url", url, "--json")
        assert done.returncode == 0, done
        (told,) = findings(done)["acl"]
        assert told["text"] == "operator: user 'peak-operator' may do its work, and no more"
        assert orders.acl_log() == []
    finally:
        orders.execute_command("ACL", "DELUSER", "peak-operator")


def test_roles_that_lack_something_or_have_too_much(server: Server, tmp_path: Any) -> None:
    client = server.client()
    client.execute_command("ACL", "SETUSER", "peak-worker", *rules("worker", "peak"), "-blpop")
    client.execute_command("ACL", "SETUSER", "wide", "on", ">pw", "~*", "&*", "+@all")
    (tmp_path / "gateway").write_text(server.address.replace("unix://", "unix://wide:pw@") + "\n")
    (tmp_path / "loader").write_text(server.address.replace("unix://", "unix://nobody:pw@"))
    words = [f"--as={role}={tmp_path / role}" for role in ("gateway", "loader")]
    try:
        done = doctor(server, "--json", *words)
        told = {one["text"].partition(":")[0]: one for one in findings(done)["acl"]}
        assert told["worker"]["text"] == "worker: user 'peak-worker' may not blpop"
        assert told["gateway"]["state"] == "warning"
        assert "FLUSHALL" in told["gateway"]["text"]
        assert told["loader"]["state"] == "problem"
        assert "pw" not in done.stdout + done.stderr
    finally:
        client.execute_command("ACL", "DELUSER", "peak-worker", "wide")


@pytest.fixture
def limited(server: Server) -> Iterator[Callable[..., str]]:
    """Makes a user that may do so much and no more; gives the address for it."""
    client = server.client()

    def make(*words: str) -> str:
        client.execute_command("ACL", "SETUSER", "limited", *words, ">pw")
        return server.address.replace("unix://", "unix://limited:pw@")

    yield make
    client.execute_command("ACL", "DELUSER", "limited")


def test_a_user_that_may_not_ask_about_users_is_told_so(
    server: Server, orders: redis.Redis, limited: Callable[..., str]
) -> None:
    url = limited(*rules("operator", "peak"), "-acl|dryrun")
    done = run("doctor", "--queue", "orders", "--url", url, "--json")
    (told,) = findings(done)["acl"]
    assert (told["state"], done.returncode) == ("ok", 0)
    assert "this one may not ask ACL DRYRUN" in told["text"]


def test_a_user_that_may_not_look_is_sent_for_another(
    server: Server, orders: redis.Redis, limited: Callable[..., str]
) -> None:
    url = limited(*rules("operator", "peak"), "-info", "-time")
    done = run("doctor", "--queue", "orders", "--url", url, "--json")
    told = [one for ones in findings(done).values() for one in ones if one["state"] == "problem"]
    assert done.returncode == 1
    assert any("peakshaver acl operator" in one["fix"] for one in told), told


def test_a_role_that_may_not_say_who_it_is_is_told(
    server: Server, orders: redis.Redis, limited: Callable[..., str], tmp_path: Any
) -> None:
    (tmp_path / "worker").write_text(limited(*rules("worker", "peak"), "-acl|whoami"))
    done = doctor(server, "--json", "--as", f"worker={tmp_path / 'worker'}")
    told, _no_role_is_known = findings(done)["acl"]
    assert (told["state"], done.returncode) == ("problem", 1)
    assert "worker: connected, but it may not ask ACL WHOAMI" in told["text"]


def test_a_server_without_its_command_for_users_is_told(tmp_path: Path) -> None:
    with valkey(rename_command=['ACL ""']) as server:
        (tmp_path / "worker").write_text(server.address)
        done = doctor(server, "--json", "--as", f"worker={tmp_path / 'worker'}")
    (told,) = findings(done)["acl"]
    assert (told["state"], done.returncode) == ("ok", 0)
    assert "this one may not ask ACL DRYRUN" in told["text"]


async def test_a_connection_of_a_role_that_breaks_is_a_problem_of_that_role(
    server: Server, tmp_path: Path
) -> None:
    client = server.client()
    client.execute_command("ACL", "SETUSER", "peak-worker", *rules("worker", "peak"))
    try:
        async with FaultProxy(server.address) as proxy:
            proxy.when(b"WHOAMI", "cut-before")
            (tmp_path / "loader").write_text(proxy.url)
            login = f"loader={tmp_path / 'loader'}"
            done = await asyncio.to_thread(doctor, server, "--json", "--as", login)
        told = {one["text"].partition(":")[0]: one for one in findings(done)["acl"]}
        assert (done.returncode, told["loader"]["state"]) == (1, "problem")
        assert told["loader"]["fix"] == "peakshaver acl loader prints its user"
        assert told["worker"]["state"] == "ok"  # the others are looked at all the same
    finally:
        client.execute_command("ACL", "DELUSER", "peak-worker")


async def test_a_server_that_goes_while_users_are_looked_at_is_none_to_judge(
    server: Server,
) -> None:
    async with FaultProxy(server.address) as proxy:
        proxy.when(b"DRYRUN", "cut-before")
        words = ("doctor", "--queue", "orders", "--url", proxy.url, "--json")
        done = await asyncio.to_thread(run, *words)
    assert (done.returncode, json.loads(done.stdout)["kind"]) == (3, "Unavailable")
