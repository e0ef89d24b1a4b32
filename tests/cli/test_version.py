"""`version`: what a bug report needs, of a checkout and of an installed package."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from pyclient.cli import version
from pyclient.scripts import load_scripts
from tests.cli.support import ROOT, run, run_json

OURS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_each_fact_has_a_line_and_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "_LIBRARIES", ("redis", "no-such-library"))
    shown = dict(line.split(maxsplit=1) for line in run("version").stdout.splitlines())
    assert shown["peakshaver"] == OURS
    assert shown["redis"] == metadata.version("redis")
    assert shown["no-such-library"] == "not installed"
    assert run_json("version", "--json")["no-such-library"] is None
    assert run("--version").stdout == run("version").stdout


def test_the_digest_is_another_where_a_script_is(monkeypatch: pytest.MonkeyPatch) -> None:
    before = version.scripts_digest()
    fewer = dict(list(load_scripts().items())[1:])
    monkeypatch.setattr(version, "load_scripts", lambda: fewer)
    assert len(before) == 12
    assert before != version.scripts_digest()


@pytest.mark.parametrize("beside", ["", '[project]\nname = "another"\nversion = "9"\n'])
def test_off_a_checkout_the_installed_package_is_asked(
    beside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is installed, the project of somebody else may lie beside it."""
    if beside:
        (tmp_path / "pyproject.toml").write_text(beside)
    monkeypatch.setattr(version, "__file__", str(tmp_path / "pyclient" / "cli" / "version.py"))
    assert version.release() == metadata.version("peakshaver")
    monkeypatch.setattr(version, "installed", lambda name: None)
    assert version.release() == "unknown"
    assert json.loads(run("version", "--json").stdout)["peakshaver"] == "unknown"
