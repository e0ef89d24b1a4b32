"""The figures against the promises, and how they are shown."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyclient.demo.report import checks, table
from pyclient.demo.run import Options, tell
from pyclient.demo.view import View, bar, progress_line
from tests.cli.support import ROOT
from tests.servers import PATIENCE_S

DIRECT: dict[str, Any] = {
    "offered": {"high": 100, "low": 1900},
    "ok": {"high": 10, "low": 90},
    "p50_ms": {"high": 4000.0, "low": 5000.0},
    "p99_ms": {"high": 9000.0, "low": 9900.0},
    "refused": 0,
    "refused_p99_ms": None,
    "refused_without_retry_after": 0,
    "failed": 0,
    "lost": 1900,
    "busy_s": 11.0,
    "backend_capacity": 20,
    "backend_per_s": 100.0,
    "backend_max_in_flight": 1800,
}
LINE: dict[str, Any] = {
    **DIRECT,
    "ok": {"high": 100, "low": 900},
    "refused": 1000,
    "refused_p99_ms": 40.0,
    "lost": 0,
    "busy_s": 10.5,
    "backend_max_in_flight": 20,
}


def broken(**figures: object) -> list[str]:
    """The promises that a line with these figures does not keep."""
    return [one.text for one in checks(DIRECT, {**LINE, **figures}, 10) if not one.ok]


def test_a_line_that_holds() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"ok": {"high": 98, "low": 900}}, "line: at least 99 % of high answered"),
        ({"ok": {"high": 100, "low": 790}}, "line: at least 90 % of the capacity used"),
        ({"busy_s": 12.0}, "line: at least 90 % of the capacity used"),
        ({"refused_p99_ms": 251.0}, "line: refusals within 250 ms (p99)"),
        ({"refused_without_retry_after": 1}, "line: each refusal says when to come back"),
        ({"backend_max_in_flight": 21}, "line: backend never over its capacity"),
        ({"lost": 1}, "line: nothing lost"),
    ],
)
def test_each_broken_promise_is_found(figures: dict[str, object], text: str) -> None:
    assert broken(**figures) == [text]


def test_the_direct_part_decides_nothing() -> None:
    fine = {**DIRECT, "ok": {"high": 100, "low": 900}}
    (found,) = [one for one in checks(fine, LINE, 10) if not one.ok]
    assert found.text.startswith("direct: ")
    assert not found.binding


def test_the_table_shows_both() -> None:
    lines = table(DIRECT, LINE)
    assert len({len(line) for line in lines}) == 1
    assert "10 (10.0%)" in lines[2]
    assert lines[2].endswith("100 (100.0%)")
    assert "1,000 in 40 ms (p99)" in "\n".join(lines)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_each_second_is_a_line() -> None:
    out = io.StringIO()
    view = View(out)
    view.tick("one")
    view.tick("two")
    view.settle()
    view.say("end")
    assert out.getvalue() == "one\ntwo\nend\n"


def test_on_a_terminal_the_line_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    view = View(out)
    view.tick("one")
    view.tick("x" * 500)
    view.settle()
    assert out.getvalue().startswith("\r\x1b[2Kone\r\x1b[2Kxxx")
    assert len(out.getvalue()) < 200, "cut to the width of the terminal"


VIEW = """
import sys
from pyclient.demo.run import Options, tell
from pyclient.demo.view import View
view = View(sys.stdout)
view.say("one")
sys.stdin.read()
for _ in range(2):
    view.say("two")
print("and on it goes", file=sys.stderr)
"""


def test_where_nobody_looks_any_more_the_work_goes_on() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", VIEW]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as viewer:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == b"one\n"
        viewer.stdout.close()
        viewer.stdout = None
        _, said = viewer.communicate(b"", timeout=PATIENCE_S)
    assert (viewer.returncode, said) == (0, b"and on it goes\n")


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not View(Terminal()).live


def test_a_second_of_the_peak() -> None:
    said = {"seconds": 3.0, "offered": 3000, "ok": 290, "refused": 2000, "failed": 0, "lost": 1}
    levels = [0, 0, 0, 5, 445, 0, 0, 0, 0, 0]
    line = progress_line(said, {"in_flight": 20, "slots": 20}, {"levels": levels}, 900)
    assert "offered  3,000" in line
    assert "5 high 445 low" in line
    assert line.count("█") == 6
    assert bar(5, 0).count("█") == 0
    assert progress_line(said, None, None, 900).endswith("lost      1")


def test_the_figures_go_where_they_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    everywhere = Options(seconds=10, to_stdout=True, report=tmp_path / "r.json")
    assert tell(everywhere, View(out), DIRECT, LINE) == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "r.json").read_text()
    assert json.loads(printed)["holds"]
    assert "✗" not in out.getvalue()
    assert tell(Options(seconds=10), View(out), DIRECT, {**LINE, "lost": 1}) == 1
    assert "✗" in out.getvalue()
    assert capsys.readouterr().out == ""
