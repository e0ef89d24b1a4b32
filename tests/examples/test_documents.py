"""Python blocks of the README and the guides run as they stand, in the order of their page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "migrate").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """Name and text of each block."""
    found = []
    for page in PAGES:
        for number, block in enumerate(_BLOCK.findall(page.read_text("utf-8")), 1):
            found.append((f"{page.name}-{number}", block))
    return found


@pytest.mark.parametrize(("name", "text"), blocks(), ids=[name for name, _ in blocks()])
def test_a_block_runs(name: str, text: str, tmp_path: Path) -> None:
    program = tmp_path / "block.py"
    program.write_text(text, "utf-8")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PEAK_")}
    said = subprocess.run(
        [sys.executable, str(program)],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 0, f"{name}: {said.stderr}"


def test_there_are_blocks_to_run() -> None:
    assert len(blocks()) >= 4
