"""The scripts as a client of another language gets them."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyclient.cli.manifest import argument
from pyclient.errors import ConfigError
from tests.cli.bare import Bare, arguments
from tests.cli.support import run, run_json
from tests.servers import Server

COMMANDS = Path(__file__).resolve().parents[2] / "lua" / "cmd"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "deep" / "scripts"
    done = run("scripts", "export", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def bare(server: Server, exported: Path) -> Iterator[Bare]:
    client = Bare(server.address.removeprefix("unix://"), exported)
    yield client
    client.close()


def new_id() -> str:
    return secrets.token_urlsafe(16)


def test_export_writes_each_bundle_under_its_sha1(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    names = {script["name"] for script in manifest["scripts"]}
    assert names == {path.stem for path in COMMANDS.glob("*.lua")}
    for script in manifest["scripts"]:
        content = (exported / f"{script['name']}.lua").read_bytes()
        assert hashlib.sha1(content, usedforsecurity=False).hexdigest() == script["sha1"]
    assert {path.name for path in exported.iterdir()} == {
        "manifest.json",
        *(f"{name}.lua" for name in names),
    }


def test_the_manifest_says_all_that_a_caller_needs(exported: Path) -> None:
    for script in json.loads((exported / "manifest.json").read_text())["scripts"]:
        assert script["keys"][0]["type"] == "string"
        assert all(row["name"] and row["type"] for row in script["prefixes"])
        assert script["returns"][0]["status"] == "OK"
        assert script["replay"]
        assert script["errors"]
        for arg in script["args"]:
            if arg["type"] in ("int", "list", "groups"):
                assert 0 <= arg["min"] <= arg["max"]
            if arg["type"] in ("list", "groups"):
                assert arg["each"]


def test_export_twice_is_the_same_and_over_a_file_fails(exported: Path) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert run("scripts", "export", str(exported)).returncode == 0
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    done = run("scripts", "export", str(exported / "admit.lua"))
    assert done.returncode == 1
    assert "can't write" in done.stderr


@pytest.mark.parametrize(
    "rule", ["", "int", "int 1-3", "word", "groups of id", "id 1..3", "int 0..64, then each"]
)
def test_a_rule_outside_the_grammar_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match=r"lua/cmd/admit\.lua: @arg x"):
        argument("admit", "x", rule)


def admit_values(caller: str, number: int, task: str, body: bytes) -> dict[str, Any]:
    profile = {
        "level": 3,
        "route": "greet",
        "tenant": "",
        "wait_ms": 10_000,
        "run_ms": 10_000,
        "due_ms": 0,
        "attempts": 3,
        "keep_s": 0,
        "options": "",
    }
    return {
        "caller": caller,
        "number": number,
        "mode": "pull",
        "trim_id": "0",
        "buckets": [],
        "profiles": [profile],
        "tasks": [{"profile": 1, "id": task, "body": body}],
    }


def test_a_task_goes_from_admit_to_its_answer_over_a_bare_socket(
    bare: Bare, queue_name: str
) -> None:
    """Issue 2, must show 6: nothing of our Python, RESP2, bytes that no text could carry."""
    bare.load()
    base, task, body, answer = f"peak:{{{queue_name}}}:", new_id(), b"\x00\xff\r\nhi", b"\xfe\n\x00"

    attached = bare.call("attach", base, {"caller": "me", "ids": []})
    assert attached["fresh"] == 1
    admitted = bare.call("admit", base, admit_values("me", 1, task, body))
    assert admitted["words"] == [b"OK"]

    claim = {"caller": "worker", "number": 1, "limit": 1, "max_level": 9}
    leased = bare.call("claim", base, claim)["tasks"]
    task_id, fence, attempt, _, level, route, tenant, got = leased
    assert (task_id, attempt, level, route, tenant, got) == (
        task.encode(),
        1,
        3,
        b"greet",
        b"",
        body,
    )

    outcome = {"id": task_id, "fence": fence, "word": "done", "body": answer}
    publish = {"caller": "worker", "number": 2, "limit": 0, "max_level": 9, "outcomes": [outcome]}
    assert bare.call("publish", base, publish)["words"] == [b"OK"]
    assert bare.call("publish", base, publish)["words"] == [b"OK"], "sent again: as it was"

    streams = bare.send("XREAD", "COUNT", 4, "STREAMS", f"{base}inbox:me", attached["last_id"])
    ((_, ((_, pairs),)),) = streams
    assert pairs == [task.encode(), b"done\n" + answer]


def test_the_scripts_refuse_what_the_manifest_forbids(bare: Bare, queue_name: str) -> None:
    bare.load()
    base = f"peak:{{{queue_name}}}:"
    for script in bare.scripts.values():
        for arg in script["args"]:
            if arg["type"] == "int" and script["name"] == "claim":
                values: dict[str, Any] = {"caller": "w", "number": 1, "limit": 1, "max_level": 9}
                values[arg["name"]] = arg["max"] + 1
                flat = [values[one["name"]] for one in script["args"]]
                with pytest.raises(RuntimeError, match=f"BADARG {arg['name']}"):
                    bare.send("EVALSHA", script["sha1"], 1, base, *flat)


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli on PATH")
def test_a_task_goes_the_same_way_with_redis_cli(
    server: Server, exported: Path, queue_name: str
) -> None:
    path, base, task = server.address.removeprefix("unix://"), f"peak:{{{queue_name}}}:", new_id()
    scripts = {
        s["name"]: s for s in json.loads((exported / "manifest.json").read_text())["scripts"]
    }

    def cli(*words: object, stdin: bytes | None = None) -> list[str]:
        done = subprocess.run(
            ["redis-cli", "-s", path, *map(str, words)],
            input=stdin,
            capture_output=True,
            timeout=10,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()

    def call(name: str, values: dict[str, Any]) -> list[str]:
        flat = [a.decode() if isinstance(a, bytes) else a for a in arguments(scripts[name], values)]
        return cli("EVALSHA", scripts[name]["sha1"], 1, base, *flat)

    for script in scripts.values():
        text = (exported / script["file"]).read_bytes()
        assert cli("-x", "SCRIPT", "LOAD", stdin=text) == [script["sha1"]]
    assert call("attach", {"caller": "me", "ids": []})[0] == "OK"
    assert "OK" in call("admit", admit_values("me", 1, task, b"hello"))[3:]
    claimed = call("claim", {"caller": "w", "number": 1, "limit": 1, "max_level": 9})
    assert claimed[3] == task
    assert claimed[-1] == "hello"
    outcome = {"id": task, "fence": claimed[4], "word": "done", "body": "bye"}
    publish = {"caller": "w", "number": 2, "limit": 0, "max_level": 9, "outcomes": [outcome]}
    assert "OK" in call("publish", publish)[3:]
    assert cli("XREAD", "STREAMS", f"{base}inbox:me", "0")[-3:] == [task, "done", "bye"]


def test_list_and_show_tell_the_same_as_the_export(exported: Path) -> None:
    entries = run_json("scripts", "list", "--json")
    assert entries == json.loads((exported / "manifest.json").read_text())["scripts"]
    assert run("scripts", "show", "claim").stdout == (exported / "claim.lua").read_text()
    assert run_json("scripts", "show", "claim", "--json")["text"].startswith("#!lua")
    listed = run("scripts", "list").stdout
    assert all(entry["sha1"] in listed for entry in entries)


def test_show_of_an_unknown_script_suggests_one() -> None:
    done = run("scripts", "show", "clam")
    assert done.returncode == 2
    assert "did you mean 'claim'?" in done.stderr


def test_load_puts_all_into_the_server(server: Server) -> None:
    client = server.client()
    client.script_flush()
    shas = run_json("scripts", "load", "--json", env={"PEAK_REDIS_URL": server.url})
    assert all(client.script_exists(*shas.values()))
    assert run("scripts", "load", "--url", server.url).stdout.startswith(f"{len(shas)} scripts")
