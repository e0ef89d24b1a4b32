"""`peakshaver bench` against the toy backend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyclient.cli.bench import make_plan
from pyclient.cli.hdr import Histogram
from tests.cli.support import environment, run, run_json


@pytest.fixture
def api() -> Iterator[str]:
    command = [sys.executable, "-m", "pyclient.demo.backend", "--slots", "4", "--work", "0.02"]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def test_it_counts_what_came_back(api: str) -> None:
    said = run_json("bench", f"{api}/x?y=1", "--rate", "50", "--seconds", "1", "--json")
    assert (said["offered"], said["ok"], said["lost"]) == (50, 50, 0)
    assert said["p50_ms"] >= 19
    assert said["statuses"] == {"200": 50}
    assert "OFFERED" in run("bench", api, "--rate", "20", "--seconds", "0.5").stdout


def test_times_are_kept_as_a_histogram(api: str, tmp_path: Path) -> None:
    words = ("--rate", "40", "--seconds", "0.5", "--hdr", str(tmp_path / "out.hgrm"), "--json")
    said = run_json("bench", api, *words)
    assert sum(count for _, count in said["histogram_us"]) == said["ok"] == 20
    assert said["p50_ms"] <= said["p90_ms"] <= said["p99.9_ms"] <= said["longest_ms"]
    assert "1.000000000000" in (tmp_path / "out.hgrm").read_text()


@pytest.mark.parametrize("micros", [0, 1, 2047, 2048, 5001, 123_456, 9_999_999, 3_600_000_000])
def test_a_bucket_of_the_histogram_is_no_wider_than_a_thousandth(micros: int) -> None:
    times = Histogram([micros / 1e6, 7200.0])
    assert micros <= (times.at(50) or 0) <= micros * 1.001


def test_percentiles_of_the_histogram_are_by_nearest_rank() -> None:
    times = Histogram(number / 1000 for number in range(1, 1001))
    for percent in (0.1, 50, 90, 99, 99.9):
        assert times.at(percent) == pytest.approx(percent * 10_000, rel=0.001)
    assert times.at(100) == times.longest_us == 1_000_000
    assert Histogram().at(50) is None
    lines = times.distribution().splitlines()[2:]
    shares = [float(line.split()[1]) for line in lines]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert shares[-1] == 1
    assert lines[-1].split()[2] == "1000"


def test_nobody_there_is_a_problem() -> None:
    said = run_json("bench", "http://127.0.0.1:1/", "--seconds", "0.2", "--json", code=1)
    assert said["lost"] == said["offered"] == 10


def test_a_peak_stands_in_the_middle() -> None:
    plan = make_plan(10, 4, (100, 1))
    assert len(plan) == 140
    assert sum(2 <= one.at < 3 for one in plan) == 100
    assert plan == sorted(plan, key=lambda one: one.at)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("localhost:8000",), 1, "expected http://host"),
        (("https://localhost",), 1, "without TLS"),
        (("http://x", "--rate", "0"), 2, "above 0"),
        (("http://x", "--rate", "nan"), 2, "above 0"),
        (("http://x", "--peak", "500"), 2, "expected RATE@SECONDS"),
        (("http://x", "--rate", "1000000", "--seconds", "60"), 1, "at most"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], code: int, says: str) -> None:
    done = run("bench", *words)
    assert done.returncode == code
    assert says in done.stderr


def test_without_an_address_it_is_the_harness_of_the_checkout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    became: list[str] = []

    def execv(program: str, words: list[str]) -> None:
        became.extend(words)
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", execv)
    assert run("bench").returncode == 0
    assert Path(became[1]).is_file()
    assert became[1].endswith("bench/roundtrip.py")
    assert became[2] == "--server"
