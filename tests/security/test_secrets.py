"""A canary in place of each secret: it is in nothing that is printed, logged, shown or raised."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyclient import ConfigError, PeakError, Queue, SyncQueue
from pyclient.connection import Connection, parse_address
from pyclient.settings import load
from tests.cli.support import environment, run
from tests.gateway.stack import children, until
from tests.servers import Server, valkey

SECRET = "canary-pa55+w/rd"
QUOTED = "canary-pa55%2Bw%2Frd"
PIECES = (SECRET, QUOTED, "canary", "pa55")


def clean(*texts: str) -> None:
    """None of the texts holds a piece of the secret."""
    for text in texts:
        assert not [piece for piece in PIECES if piece in text], text


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    with valkey(tcp=True, requirepass=SECRET) as server:
        yield server


def url_of(server: Server, password: str = QUOTED) -> str:
    return f"redis://:{password}@127.0.0.1:{server.port}"


VERBS = [
    ("doctor",),
    ("doctor", "--json"),
    ("queue", "ls"),
    ("queue", "show", "nope"),
    ("queue", "set", "q", "limit=3"),
    ("dead", "ls"),
    ("scripts", "load"),
    ("config", "show"),
    ("config", "show", "--json"),
    ("config", "check"),
    ("version",),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_no_command_shows_a_password(locked: Server, words: tuple[str, ...]) -> None:
    for url in (
        url_of(locked),
        url_of(locked, f"wrong-{QUOTED}"),
        f"redis://:{QUOTED}@127.0.0.1:1",
    ):
        done = run(*words, env={"PEAK_REDIS_URL": url})
        assert done.returncode in (0, 1, 3), done
        clean(done.stdout, done.stderr)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@h",  # not encoded: half of it looks like a path
        f"redis://u:{SECRET}#@h",
        f"redis://h?password={SECRET}&nonsense=1",
        f"rediss+sentinel://:{QUOTED}@h/s?sentinel_password={SECRET}&x=1",
        f"http://u:{SECRET}@h",
        f"redis://:{QUOTED}@h:port",
        f"redis+cluster://:{QUOTED}@",
    ],
)
def test_an_address_that_is_wrong_is_quoted_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    clean("".join(traceback.format_exception(caught.value)), repr(caught.value))
    done = run("doctor", env={"PEAK_REDIS_URL": url})
    clean(done.stdout, done.stderr)


def test_a_password_from_a_file_stays_there(locked: Server, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET + "\n")
    env = {
        "FAST_PRIORITY_REDIS_HOST": "127.0.0.1",
        "FAST_PRIORITY_REDIS_PORT": str(locked.port),
        "FAST_PRIORITY_REDIS_PASSWORD_FILE": str(file),
    }
    for words in VERBS:
        done = run(*words, env=env)
        assert done.returncode in (0, 1), done
        clean(done.stdout, done.stderr)


def test_objects_and_errors_hide_it(locked: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    good, wrong = url_of(locked), url_of(locked, f"wrong-{QUOTED}")
    for name in list(os.environ):
        if name.startswith(("PEAK_", "FAST_PRIORITY_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PEAK_REDIS_URL", good)
    clean(repr(load()), str(load()), repr(parse_address(good)))
    for thing in (Queue.from_url(good), SyncQueue.from_url(good), Connection(good)):
        clean(repr(thing), str(thing))
    clean(asyncio.run(_said_of(wrong)), asyncio.run(_said_of(f"redis://:{QUOTED}@127.0.0.1:1")))


async def _said_of(url: str) -> str:
    with pytest.raises(PeakError) as caught:
        async with Queue.from_url(url, name="q") as queue:
            await queue.call("echo", 1, timeout=1)
    error = caught.value
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


@pytest.mark.leaves_processes
def test_no_argument_of_a_process_holds_it(locked: Server, tmp_path: Path) -> None:
    """Arguments are for all on the machine to read (`ps`); the environment is not."""
    words = [sys.executable, "-m", "pyclient.cli", "up", "--port", "0", "--workers", "1"]
    env = environment(PEAK_REDIS_URL=url_of(locked))
    with (tmp_path / "out").open("w+") as out:
        process = subprocess.Popen(words, env=env, stdout=out, stderr=out, cwd=tmp_path)
        try:
            until(lambda: len(family(process.pid)) >= 3 or process.poll() is not None, "parts")
            assert process.poll() is None, (tmp_path / "out").read_text()
            clean(*family(process.pid).values())
        finally:
            process.terminate()
            process.wait(20)
        clean((tmp_path / "out").read_text())


def family(pid: int) -> dict[int, str]:
    """A process and all that came of it, with their arguments."""
    found, todo = {}, [pid]
    while todo:
        one = todo.pop()
        try:
            found[one] = Path(f"/proc/{one}/cmdline").read_text()
        except OSError:
            continue
        todo += children(one)
    return found
