"""What lies in deploy/: checked as text, by the linters that are there, and run as processes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pyclient.settings_table import TABLE
from tests.cli.support import environment
from tests.servers import until, valkey

from .acceptance.rig import site

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
KNOWN = {name for one in TABLE for name in (one.name, *one.aliases)}


def _line(word: str) -> str:
    """What follows the last line of the Dockerfile that begins with a word."""
    found: list[str] = re.findall(rf"^{word} (.*)$", DOCKERFILE, re.MULTILINE)
    return found[-1]


def _health() -> list[str]:
    words: list[str] = json.loads(_line("HEALTHCHECK").partition(" CMD ")[2])
    return [sys.executable, *words[1:]]


def test_the_image_is_slim_and_not_run_by_root() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert all(base.startswith("python:3.") and base.endswith("-slim") for base in bases)
    assert _line("USER") not in ("root", "0")
    for words in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in words.split()[:-1])


def test_its_command_is_one_that_the_package_installs() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert json.loads(_line("CMD")) == ["run-fast-priority"]
    assert "run-fast-priority" in scripts


def _compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return found


def test_compose_has_the_services_of_fast_priority_and_known_settings() -> None:
    services = _compose()["services"]
    assert {"behind_gateway_api", "priority-gateway-worker", "queue"} < set(services)
    gateway = services["priority-gateway"]
    assert gateway["networks"]["default"]["aliases"] == ["priorityity-gateway"]
    for name in ("priority-gateway", "priority-gateway-worker"):
        assert set(services[name]["environment"]) <= KNOWN
    assert "noeviction" in services["queue"]["command"]


def test_compose_is_read_by_docker() -> None:
    docker = shutil.which("docker")
    words = ["compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    if docker is None or subprocess.run([docker, "compose"], capture_output=True).returncode:
        pytest.skip("no docker compose here")
    said = subprocess.run([docker, *words], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_sound(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text("utf-8")
    named = set(re.findall(r"\b(?:FAST_PRIORITY|PEAK)_[A-Z_]+", text))
    assert {name.removesuffix("_FILE") for name in named} <= KNOWN
    assert "\nKillMode=mixed\n" in text  # handlers in processes and an embedded server run on
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/peakshaver/bin/peakshaver", sys.executable), "utf-8")
    said = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")


def test_the_entry_command_takes_its_role_from_the_environment_and_is_healthy() -> None:
    with valkey() as server, site(server) as here:
        worker = here.start("pyclient.cli.fast_priority", FAST_PRIORITY_WORKERS="2")
        gateway = here.gateway()
        here.probe()
        until(lambda: len(worker.children()) == 2, what="two processes")
        port = {"FAST_PRIORITY_PORT": str(gateway.port)}
        assert _runs(port) == 0
        assert _runs({"FAST_PRIORITY_WORKERS": "2"}) == 0
        gateway.end()
        assert _runs(port) != 0


def _runs(env: dict[str, str]) -> int:
    return subprocess.run(_health(), env=environment(**env), capture_output=True).returncode
