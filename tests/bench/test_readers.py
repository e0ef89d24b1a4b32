"""What is read of others' words: INFO, wrk's report, py-spy's stacks; and the page that is made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as command
from bench import report
from bench.harness import plots
from bench.harness.scripted import figures_of
from bench.harness.server import Counters
from bench.parts import http, profile, roundtrip

WRK = """Running 2s test @ http://127.0.0.1:8000/
  1 threads and 32 connections
  Latency Distribution
     50%    4.21ms
     75%    4.80ms
     99%    1.02s
  14012 requests in 2.00s, 2.10MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 3
Requests/sec:   7001.25
"""


def info(evalsha: int, get: int) -> dict[str, str]:
    return {
        "cmdstat_evalsha": f"calls={evalsha},usec={evalsha * 100},usec_per_call=1",
        "cmdstat_get": f"calls={get},usec={get},usec_per_call=1",
        "cmdstat_config|set": "calls=7,usec=7,usec_per_call=1",
        "total_net_input_bytes": "10",
        "total_net_output_bytes": "20",
        "used_cpu_user": "1.5",
        "used_cpu_sys": "0.5",
    }


def test_counters_are_per_task_and_leave_the_harness_out() -> None:
    found = Counters(info(30, 90)).since(Counters(info(10, 10)), 10)
    assert found["commands"] == 10
    assert found["script_calls"] == 2
    assert found["script_us"] == 200
    assert found["by_name"] == {"get": 8, "evalsha": 2}


def test_wrk_is_read_with_its_units_and_errors() -> None:
    found = http.read_wrk(WRK)
    assert found == {
        "rate": 7001.25,
        "p50": pytest.approx(0.00421),
        "p99": 1.02,
        "done": 14012,
        "refused": 3,
        "errors": 3,
    }


def test_stacks_are_summed_by_layer_and_function() -> None:
    text = "main (a.py:1);send (pyclient/link.py:9) 3\nmain (a.py:1);run (asyncio/runners.py:5) 1\n"
    found = profile.summary(profile.read_stacks(text))
    assert found["layers"] == {"connection: packing, parsing, writing": 75.0, "event loop": 25.0}
    assert found["functions"] == {"send (pyclient/link.py)": 75.0, "run (asyncio/runners.py)": 25.0}


def test_times_are_per_task_and_the_longest_is_of_a_call() -> None:
    assert figures_of([640, 64, 128], 64) == {
        "calls": 3,
        "median_us": 2.0,
        "p99_us": 10.0,
        "longest_us": 640,
    }


def rows() -> dict[str, Any]:
    def row(rate: float, p50: float) -> dict[str, Any]:
        phase = {"rate": rate, "p50": p50, "p99": p50 * 2, "script_us": 10.0, "script_calls": 3.0}
        phase |= {"errors": 0, "hung": 0, "commands": 1.0, "reads": 1.0, "net_bytes": 1000}
        cpu = dict.fromkeys(("cpu_submitter_us", "cpu_worker_us", "cpu_redis_us"), 5.0)
        return {str(level): {**phase, **cpu} for level in roundtrip.LEVELS}

    return {
        "peakshaver": row(24000, 0.001),
        "floor": row(10000, 0.001),
        "huey": row(1000, 0.002),
        "saq.push": row(2000, 0.003),
        "bullmq_node": row(4000, 0.002),
    }


def result() -> dict[str, Any]:
    found = rows()
    machine: dict[str, Any] = dict.fromkeys(
        ("commit", "date", "processor", "system", "python"), "x"
    )
    machine |= {"cores": 2, "load_before": 0, "load_after": 0, "steal_s": 0, "versions": {"a": "1"}}
    frame = {"part": "roundtrip", "command": "x", "server": "Redis 7", "quick": True, "repeats": 1}
    frame |= {"took_s": 1.0, "machine": machine, "settings": {"seconds": 1}}
    return {**frame, "rows": found, "runs": {name: [row] for name, row in found.items()}}


def test_checks_compare_with_the_best_python_peer_and_with_node_apart() -> None:
    found = {one.claim: one for one in roundtrip.check(result())}
    best = found["round trips at 64 / the best Python peer's (saq.push)"]
    assert (best.value, best.met) == (12.0, True)
    assert found["round trips at 64 / BullMQ on Node"].value == 6.0
    assert found["p50 at 1 / the quickest peer's"].value == 0.5
    assert found["µs of scripts a task at 64, ten routes"].met is None


def test_the_page_shows_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    monkeypatch.setattr(report, "RESULTS", tmp_path / "benchmarks")
    whole = result()
    whole["checks"] = [one.as_json() for one in roundtrip.check(whole)]
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "roundtrip.json").write_text(json.dumps(whole))
    (tmp_path / "benchmarks" / "roundtrip-64.svg").touch()
    report.write()
    page = (tmp_path / "benchmarks.md").read_text()
    assert "## Round trips" in page
    assert "![roundtrip-64](benchmarks/roundtrip-64.svg)" in page
    assert "A quick look, not a measurement" in page
    assert "| peakshaver | 24,000 | 24,000 | 24,000 |" in page


def test_plots_are_png_and_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = plots.bars(tmp_path, "bars", "A title", {"peakshaver": 2.0, "huey": None}, unit="µs")
    assert [path.suffix for path in paths] == [".png", ".svg"]
    assert all(path.stat().st_size > 1000 for path in paths)
    assert plots.bars(tmp_path, "none", "A title", {"huey": None}, unit="µs") == []


def test_a_part_that_does_not_exist_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert "invalid choice: 'nonsense'" in capsys.readouterr().err


def test_a_peer_that_does_not_exist_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--peers", "nonsense"]) == 2
    assert "no peer nonsense" in capsys.readouterr().err
