"""The page for those who embed: docs/reference/python.md says what the docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import pyclient
import worker_app

ROOT = Path(__file__).resolve().parents[2]


def _written() -> str:
    spec = importlib.util.spec_from_file_location("reference", ROOT / ".ci" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text: str = module.page()
    return text


def test_the_page_is_what_the_docstrings_give() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    assert page == _written(), "out of date: run python .ci/reference.py"


@pytest.mark.parametrize("name", [*pyclient.__all__, *worker_app.__all__])
def test_each_public_name_is_on_it(name: str) -> None:
    assert f"### {name}" in _written()
