"""`gateway`, `worker` and `run-fast-priority` become the module that they name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyclient.cli.fast_priority import role
from tests.cli.support import ROOT, environment


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    """Apps that tell their process id and arguments, in place of ours."""
    for name in ("gateway_app", "worker_app"):
        (tmp_path / name).mkdir()
        code = "import os, sys\nprint(__package__, os.getpid(), *sys.argv[1:])\nsys.exit(7)\n"
        (tmp_path / name / "__main__.py").write_text(code)
        (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def become(apps: Path, module: str, *words: str, **env: str) -> tuple[int, list[str]]:
    path = os.pathsep.join((str(apps), str(ROOT)))
    process = subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=apps,
        env=environment(**env) | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=30)
    package, pid, *rest = out.split()
    assert int(pid) == process.pid, "a process of its own would not get our signals"
    return process.returncode, [package, *rest]


@pytest.mark.parametrize("verb", ["gateway", "worker"])
def test_the_verb_hands_on_arguments_and_exit_code(apps: Path, verb: str) -> None:
    told = become(apps, "pyclient.cli", verb, "-w", "2", "--help", "--json")
    assert told == (7, [f"{verb}_app", "-w", "2", "--help", "--json"])


def test_run_fast_priority_is_the_gateway(apps: Path) -> None:
    assert become(apps, "pyclient.cli.fast_priority") == (7, ["gateway_app"])


@pytest.mark.parametrize("name", ["FAST_PRIORITY_WORKERS", "FAST_PRIORITY_WORKER"])
def test_run_fast_priority_is_a_worker_where_workers_are_set(apps: Path, name: str) -> None:
    told = become(apps, "pyclient.cli.fast_priority", **{name: "3"})
    assert told == (7, ["worker_app", "-p", "3"])


def test_run_fast_priority_refuses_wrong_settings_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyclient.cli.fast_priority"],
        capture_output=True,
        cwd=tmp_path,
        env=environment(FAST_PRIORITY_WORKERS="many"),
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("run-fast-priority: FAST_PRIORITY_WORKERS: expected")
    assert done.stderr.count("\n") == 1


def test_the_role_is_read_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PEAK_", "FAST_PRIORITY_"))]:
        monkeypatch.delenv(name)
    assert role(["-c", "2"]) == ("gateway_app", ["-c", "2"])
