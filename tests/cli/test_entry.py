"""The entry point: usage, suggestions, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from pyclient.cli.entry import VERBS, main
from tests.cli.support import environment, run, run_process

NOWHERE = "redis://127.0.0.1:1"


def test_no_verb_prints_the_usage_and_is_wrong() -> None:
    done = run_process()
    assert done.returncode == 2
    assert "usage: peakshaver" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("word", ["-h", "--help", "help"])
def test_help_prints_every_verb(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb} " in shown for verb in VERBS)


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"gateway", "worker"}))
def test_each_verb_explains_itself_and_takes_json(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["help", verb]) == 0
    shown = capsys.readouterr().out
    assert f"usage: peakshaver {verb}" in shown
    assert "--json" in shown


@pytest.mark.parametrize(
    ("typed", "meant"), [("quue", "queue"), ("script", "scripts"), ("docter", "doctor")]
)
def test_an_unknown_verb_gets_a_suggestion(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed]) == 2
    assert f"did you mean '{meant}'?" in capsys.readouterr().err


def test_an_unknown_verb_like_nothing_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zzzzzzz"]) == 2
    assert "there are: up, " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("queue",),
        ("queue", "sh"),
        ("queue", "ls", "--nope"),
        ("--nope",),
        ("scripts", "export"),
        ("dead", "ls", "--limit", "0"),
        ("dead", "ls", "--limit", "x"),
    ],
)
def test_wrong_usage_is_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("queue", "ls"), ("scripts", "load"), ("dead", "ls"), ("doctor",)]
)
def test_no_redis_is_3_and_says_where_it_looked(words: tuple[str, ...]) -> None:
    done = run_process(*words, "--json", env={"PEAK_REDIS_URL": NOWHERE})
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr
    assert "PEAK_REDIS_URL" in done.stderr
    said = json.loads(done.stdout)
    assert said["kind"] == "Unavailable"


def test_a_password_is_never_shown() -> None:
    done = run("queue", "ls", env={"PEAK_REDIS_URL": "redis://me:hush@127.0.0.1:1"})
    assert "hush" not in done.stdout + done.stderr


def test_json_may_stand_before_the_verb() -> None:
    assert json.loads(run("--json", "version").stdout)["peakshaver"]


def test_a_reader_that_leaves_is_no_traceback() -> None:
    shown = subprocess.run(
        ["sh", "-c", '"$0" -m pyclient.cli scripts show admit | head -1', sys.executable],
        capture_output=True,
        cwd="/",
        env=environment(),
        text=True,
        timeout=30,
    )
    assert shown.stdout.startswith("#!lua")
    assert shown.stderr == ""
