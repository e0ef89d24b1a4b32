"""`peakshaver demo` as users run it."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from pyclient.demo.http import request
from tests.cli.support import run
from tests.demo.support import started
from tests.servers import Server, until


def promises(report: dict[str, Any]) -> None:
    """Issue 2, must show 1."""
    direct, line = report["direct"], report["line"]
    for part in (direct, line):
        assert set(part["offered"]) == set(part["p50_ms"]) == set(part["p99_ms"]) == {"high", "low"}
        ends = sum(part["ok"].values()) + part["refused"] + part["failed"] + part["lost"]
        assert ends == sum(part["offered"].values()), "each request ends as exactly one"
    assert direct["offered"] == line["offered"]
    high, low = line["offered"]["high"], line["offered"]["low"]
    assert high == pytest.approx(0.05 * (high + low), abs=1)
    assert high + low == pytest.approx(10 * line["backend_per_s"] * report["seconds"], abs=1)
    assert line["ok"]["high"] >= 0.99 * high
    assert sum(line["ok"].values()) >= 0.9 * line["backend_per_s"] * report["seconds"]
    assert line["refused_p99_ms"] <= 250
    assert line["refused_without_retry_after"] == 0
    assert line["backend_max_in_flight"] <= line["backend_capacity"]
    assert line["lost"] == 0
    assert direct["ok"]["high"] < 0.9 * high
    assert report["holds"]


def test_a_small_demo_keeps_its_promises(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--seconds", "4", "--slots", "10", "--json", "r.json") as demo:
        assert demo.wait(timeout=90) == 0, demo.words()
        demo.none_left(timeout=0.5)
        promises(json.loads((tmp_path / "r.json").read_text()))
        assert "through the line" in demo.stdout
        assert "\x1b" not in demo.stdout, "no terminal, no control characters"


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--json", "r.json") as demo:
        assert demo.wait(timeout=240) == 0, demo.words()
        demo.none_left(timeout=0.5)
        promises(json.loads((tmp_path / "r.json").read_text()))


@pytest.mark.full
@pytest.mark.timeout(120)
def test_on_a_server_of_yours_it_leaves_no_key(server: Server, tmp_path: Path) -> None:
    client = server.client()
    with started(
        tmp_path, "demo", "--seconds", "2", "--slots", "4", "--keep", PEAK_REDIS_URL=server.url
    ) as demo:
        shown = demo.wait_for("Still up. Try: curl -i ", timeout=90)
        url = shown.partition("curl -i ")[2].split()[0]
        status, _ = _ask(url)
        assert status == 200
        assert any(b"{demo-" in key for key in client.scan_iter())
        demo.signal(signal.SIGINT)
        assert demo.wait() == 0, demo.words()
        demo.none_left(timeout=0.5)
        assert client.keys() == []


def _ask(url: str) -> tuple[int, bytes]:
    return asyncio.run(request(url))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_drains(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path, "demo", "--slots", "4") as demo:
        demo.wait_for("offered ")
        demo.signal(number)
        assert demo.wait(timeout=15) == 130
        demo.none_left(timeout=0.5)
        assert "ended" in demo.stdout
        assert demo.stderr == ""


@pytest.mark.faults
def test_kill_9_leaves_no_process(tmp_path: Path) -> None:
    with started(tmp_path, "demo", "--slots", "4") as demo:
        demo.wait_for("offered ")
        until(lambda: len(demo.family()) >= 7, what="all parts")
        demo.signal(signal.SIGKILL)
        demo.wait()
        demo.none_left()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seconds", "0"), "expected 1..600 seconds"),
        (("--seconds", "nan"), "expected 1..600 seconds"),
        (("--slots", "7"), "expected an even number"),
        (("--json", "/no/such/folder/r.json"), "can't write /no/such/folder/r.json"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], says: str) -> None:
    done = run("demo", *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_no_redis_at_the_address_given() -> None:
    done = run("demo", env={"PEAK_REDIS_URL": "redis://127.0.0.1:1"})
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr
