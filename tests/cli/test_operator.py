"""What an operator does: look at queues and dead letters, pause, set, revive, ask the doctor."""

from __future__ import annotations

import asyncio
import json

import pytest

from pyclient.commands import Commands
from pyclient.connection import Connection
from pyclient.keys import Keys, new_task_id
from pyclient.model import Profile
from pyclient.scripts import load_scripts
from tests.cli.support import run, run_json
from tests.servers import Server

KEPT = Profile(4, "mail", "acme", 60_000, 10_000, 0, 1, 60)


async def _fill(url: str, queue: str, *, waiting: int, dead: int) -> list[str]:
    """Tasks that wait, after some that died of `mailbox full`."""
    conn = Connection(url)
    await conn.open()
    commands = Commands(conn, load_scripts(), Keys("peak", queue))
    ids = [new_task_id() for _ in range(dead)]
    if dead:
        await commands.admit("me", 1, "pull", b"0", [], [KEPT], [(1, i, b"hi") for i in ids])
        claimed = await commands.claim("w", 1, dead, 9)
        letters = [(t.id, t.fence, 0, True, "mailbox full\ntrace") for t in claimed.tasks]
        assert (await commands.retry("w", 2, letters)).words == ["DEAD"] * dead
    if waiting:
        tasks = [(1, new_task_id(), b"hi") for _ in range(waiting)]
        await commands.admit("me", 2, "pull", b"0", [], [KEPT], tasks)
    await conn.aclose()
    return ids


def fill(url: str, queue: str, *, waiting: int = 0, dead: int = 0) -> list[str]:
    return asyncio.run(_fill(url, queue, waiting=waiting, dead=dead))


def test_no_queue_at_all(server: Server) -> None:
    assert run_json("queue", "ls", "--json", env={"PEAK_REDIS_URL": server.url}) == []
    assert "no queue under 'peak'" in run("queue", "ls", env={"PEAK_REDIS_URL": server.url}).stdout
    assert run("queue", "show", "nope", env={"PEAK_REDIS_URL": server.url}).returncode == 1


@pytest.mark.leaves_keys
def test_ls_and_show_tell_what_waits(server: Server) -> None:
    fill(server.url, "orders", waiting=3)
    fill(server.url, "mail", waiting=1)
    listed = run_json("queue", "ls", "--json", env={"PEAK_REDIS_URL": server.url})
    assert [(one["queue"], one["waiting"]) for one in listed] == [("mail", 1), ("orders", 3)]
    table = run("queue", "ls", "--url", server.url).stdout.splitlines()
    assert table[0].split()[:4] == ["QUEUE", "MODE", "STATE", "WAITING"]
    assert table[2].split()[:4] == ["orders", "pull", "open", "3"]
    shown = run_json("queue", "show", "orders", "--json", env={"PEAK_REDIS_URL": server.url})
    assert shown["levels"][4] == 3
    text = run("queue", "show", "orders", env={"PEAK_REDIS_URL": server.url}).stdout
    assert "waiting     3" in text
    assert "levels      4:3" in text


def test_pause_close_and_resume(server: Server) -> None:
    env = {"PEAK_REDIS_URL": server.url, "PEAK_QUEUE": "orders"}
    said = run("queue", "pause", "--reason", "db migration", env=env).stdout
    assert said.startswith("orders is paused (db migration)")
    assert run_json("queue", "show", "--json", env=env)["state"] == "paused"
    assert run_json("queue", "close", "orders", "--json", env=env)["state"] == "closed"
    assert run_json("queue", "resume", "--json", env=env)["reason"] == ""


def test_set_changes_settings_live(server: Server) -> None:
    env = {"PEAK_REDIS_URL": server.url}
    said = run_json("queue", "set", "orders", "limit=16", "concurrency:mail=4", "--json", env=env)
    assert said["limit"] == 16
    assert said["set"] == {"limit": "16", "concurrency mail": "4"}
    run_json("queue", "set", "lease_ms=2000", "--json", env=env)
    assert run_json("queue", "show", "--json", env=env)["lease_ms"] == 2000


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("limt=3", "did you mean limit?"),
        ("limit", "expected NAME=VALUE"),
        ("room=3", "expected room:ROUTE=N"),
        ("limit:mail=3", "expected limit=VALUE"),
        ("limit=-1", "BADARG limit"),
        ("order=zigzag", "BADARG order"),
    ],
)
def test_set_refuses_what_is_wrong(server: Server, word: str, says: str) -> None:
    done = run("queue", "set", "orders", word, env={"PEAK_REDIS_URL": server.url})
    assert done.returncode == 1
    assert says in done.stderr


@pytest.mark.leaves_keys
def test_dead_letters_are_listed_and_revived(server: Server) -> None:
    env = {"PEAK_REDIS_URL": server.url, "PEAK_QUEUE": "post"}
    ids = fill(server.url, "post", dead=3)
    listed = run_json("dead", "ls", "--json", env=env)
    assert {one["id"] for one in listed} == set(ids)
    assert {(one["route"], one["tenant"], one["level"]) for one in listed} == {("mail", "acme", 4)}
    assert listed[0]["reason"] == "mailbox full\ntrace"
    assert "mailbox full" in run("dead", "ls", "--limit", "1", env=env).stdout

    told = run_json("dead", "revive", ids[0], "--json", env=env)
    assert told[0]["word"] == "OK"
    assert run_json("dead", "revive", ids[0], "--json", code=1, env=env)[0]["word"] == "GONE"
    assert len(run_json("dead", "revive", "--all", "--json", env=env)) == 2
    assert run_json("queue", "show", "--json", env=env)["waiting"] == 3
    assert "no dead letters" in run("dead", "ls", env=env).stdout


def test_revive_wants_ids_or_all(server: Server) -> None:
    for words in ((), ("--all", "a" * 22)):
        done = run("dead", "revive", *words, env={"PEAK_REDIS_URL": server.url})
        assert done.returncode == 1
        assert "expected ids, or --all" in done.stderr


def test_the_doctor_is_content_with_a_fresh_server(server: Server) -> None:
    said = run_json("doctor", "--json", env={"PEAK_REDIS_URL": server.url})
    assert said["ok"]
    states = {finding["name"]: finding["state"] for finding in said["findings"]}
    assert states["server"] in ("ok", "warning")
    assert states["memory"] == states["scripts"] == states["queue"] == "ok"


@pytest.mark.leaves_keys
def test_the_doctor_finds_a_line_that_nobody_serves(server: Server) -> None:
    fill(server.url, "orders", waiting=2, dead=1)
    # A claim a moment ago is a worker a moment ago.
    done = run("doctor", "--queue", "orders", env={"PEAK_REDIS_URL": server.url})
    assert "2 waiting" in done.stdout
    assert "! 1 dead letters" in done.stdout
    fill(server.url, "idle", waiting=1)
    done = run("doctor", "--queue", "idle", env={"PEAK_REDIS_URL": server.url})
    assert done.returncode == 1
    assert "no worker takes anything" in done.stdout
    assert "fix: start one: peakshaver worker" in done.stdout


def test_the_doctor_names_an_evicting_server(server: Server) -> None:
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    done = run("doctor", env={"PEAK_REDIS_URL": server.url})
    assert done.returncode == 1
    assert "✗ " in done.stdout
    assert "noeviction" in done.stdout


def test_the_doctor_tells_of_a_paused_queue(server: Server) -> None:
    run("queue", "pause", "--reason", "lunch", env={"PEAK_REDIS_URL": server.url})
    done = run("doctor", env={"PEAK_REDIS_URL": server.url})
    assert done.returncode == 0
    assert "reason: lunch" in done.stdout
    assert "fix: peakshaver queue resume default" in done.stdout


def test_config_show_tells_values_and_origins() -> None:
    env = {"PEAK_QUEUE": "orders", "FAST_PRIORITY_REDIS_PASSWORD": "hush"}
    shown = run("config", "show", "--json", env=env)
    assert "hush" not in shown.stdout
    values = json.loads(shown.stdout)
    assert values["PEAK_QUEUE"] == {"value": "orders", "origin": "environment"}
    assert values["PEAK_LEASE"]["origin"] == "default"
    changed = run_json("config", "show", "--changed", "--json", env=env)
    assert set(changed) == set(env)
    assert "PEAK_QUEUE" in run("config", "show", env=env).stdout


def test_config_check_says_what_is_wrong() -> None:
    assert run("config", "check").returncode == 0
    assert run_json("config", "check", "--json")["ok"]
    done = run("config", "check", env={"PEAK_LEESE": "3"})
    assert done.returncode == 1
    assert "Did you mean PEAK_LEASE?" in done.stderr
    assert not run_json("config", "check", "--json", code=1, env={"PEAK_LEASE": "soon"})["ok"]


def test_config_docs_has_every_setting() -> None:
    table = run_json("config", "docs", "--json")
    text = run("config", "docs").stdout
    assert all(f"`{row['name']}`" in text for row in table)
