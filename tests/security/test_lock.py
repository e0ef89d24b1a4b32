"""What ./peak installs is what the lock file names, byte for byte."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.apps.test_peak_script import PYTHON, Machine

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PACKAGE = re.compile(r"(?m)^([a-z0-9-]+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=\S+(?: \\)?\n)+)")
# A security fix that we would not want to miss.
FLOORS = {"h11": "0.16", "starlette": "1.0.1", "redis": "7", "httptools": "0.6.4", "msgpack": "1.1"}


def test_every_package_is_pinned_by_hashes_and_no_index_is_named() -> None:
    packages = PACKAGE.findall(LOCK)
    assert len(packages) == LOCK.count("==") - LOCK.count("== '") > 40
    left = PACKAGE.sub("", LOCK).splitlines()
    assert all(line.startswith("#") for line in left), left
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h) for h in re.findall(r"--hash=(\S+)", LOCK))
    assert "://" not in LOCK
    assert "index" not in LOCK


def test_the_lock_holds_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"]]
    for name in ("embedded", "gateway", "worker", "dev"):
        wanted += extras[name]
    pinned = {name: version for name, version, *_ in PACKAGE.findall(LOCK)}
    for one in map(Requirement, wanted):
        assert one.name in pinned, f"{one}: run .ci/lock"
        assert pinned[one.name] in one.specifier, f"{one}: run .ci/lock"
    for name, least in FLOORS.items():
        assert pinned[name] in Requirement(f"{name}>={least}").specifier


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    one = Machine(tmp_path)
    one.says("python3.12", PYTHON)
    (one.root / "requirements.lock").write_text("a==1 \\\n    --hash=sha256:00\n")
    return one


def test_packages_come_by_the_lock_and_the_project_without_any(machine: Machine) -> None:
    assert machine.peak("setup").returncode == 0
    _, packages, project = machine.calls()
    assert packages.endswith(
        f"--only-binary :all: --require-hashes -r {machine.root}/.venv/requirements.lock"
    )
    assert project.endswith("--no-deps --no-build-isolation -e .")


def test_a_changed_lock_is_installed(machine: Machine) -> None:
    machine.peak("setup")
    (machine.root / "requirements.lock").write_text("a==2 \\\n    --hash=sha256:00\n")
    machine.peak("setup")
    assert len(machine.calls()) == 5


def test_another_package_than_the_locked_one_ends_it(machine: Machine) -> None:
    word = "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
    changed = PYTHON.replace('echo "pip $*" >>"$CALLS"', f'echo "pip $*" >>"$CALLS"; echo "{word}"')
    machine.says("python3.12", changed)
    said = machine.peak("setup", PIP="1")
    assert said.returncode == 1
    assert "nothing was installed" in said.stderr
    assert len(machine.calls()) == 2


def test_an_index_without_the_locked_versions_is_told_and_can_be_forbidden(
    machine: Machine,
) -> None:
    said = machine.peak("setup", PIP="1", PEAK_LOCKED="1")
    assert said.returncode == 1
    assert len(machine.calls()) == 2
    said = machine.peak("setup", PIP="1")
    assert "taking what pyproject.toml allows" in said.stderr
    assert machine.calls()[-1].endswith("-e .[all,dev]")
