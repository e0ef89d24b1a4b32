"""What the packages show to the world: sorted, complete, and there."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import pyclient
from pyclient import errors

ROOT = Path(__file__).resolve().parents[2]
# The names that other programs were told of. Adding is free, renaming is not.
PUBLIC = """BadPayload ConfigError LocalRateLimiter PeakError Queue QueueClosed QueueFull
    RateLimited RateLimiter Refused StateLost SyncQueue TaskCancelled TaskDead TaskError TaskExpired
    TaskFailed
    TaskLost Ticket TooLate Unavailable Verdict""".split()
VERBS = """call submit submit_many slot attach gauge configure pause resume close revive
    aclose""".split()
SIGNATURES = {
    "call": "(self, route, payload=None, *, level=3, tenant='', timeout=30.0, key=None)",
    "submit": "(self, route, payload=None, *, level=3, tenant='', timeout=30.0, key=None, "
    "keep=3600.0)",
    "slot": "(self, route='', *, level=3, tenant='', timeout=30.0)",
    "attach": "(self, task_id)",
    "pause": "(self, reason='')",
    "close": "(self, reason='')",
}


def listed(path: Path) -> list[str] | None:
    """The `__all__` of a file, if it has one."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


WITH_ALL = [
    path
    for package in ("pyclient", "gateway_app", "worker_app")
    for path in sorted((ROOT / package).rglob("*.py"))
    if listed(path) is not None
]


def rank(name: str) -> tuple[bool, bool, str]:
    """Constants, then classes, then the rest, as the linter has it."""
    return not name.isupper(), not name[0].isupper(), name


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", WITH_ALL, ids=shown)
def test_a_list_of_names_is_sorted_and_true(path: Path) -> None:
    names = listed(path)
    assert names == sorted(set(names or ()), key=rank)
    parts = path.relative_to(ROOT).with_suffix("").parts
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    assert [name for name in names or () if not hasattr(module, name)] == []


IMPORTS = """
import importlib, pkgutil, sys, threading
for package in sys.argv[1:]:
    for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(found.name)
assert threading.active_count() == 1, threading.enumerate()
print(*(name for name in sys.modules if name.endswith("__main__")))
"""


def test_to_import_a_module_starts_and_prints_nothing() -> None:
    command = [sys.executable, "-W", "error", "-W", "ignore:the names of fastapi-queue"]
    command += ["-c", IMPORTS, "pyclient", "gateway_app", "worker_app"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    programs = {"__main__", "pyclient.cli.__main__", "gateway_app.__main__", "worker_app.__main__"}
    assert set(done.stdout.split()) == programs


def test_the_names_that_programs_use_are_there() -> None:
    assert [name for name in PUBLIC if name not in pyclient.__all__] == []
    for name in pyclient.__all__:
        assert inspect.getdoc(getattr(pyclient, name)), f"{name} says nothing of itself"


def test_all_errors_are_shown_and_have_one_root() -> None:
    kinds = {one for one in vars(errors).values() if inspect.isclass(one)}
    assert {kind.__name__ for kind in kinds} == set(errors.__all__) <= set(pyclient.__all__)
    assert all(issubclass(kind, errors.PeakError) for kind in kinds)
    tree = inspect.getdoc(errors) or ""
    assert [kind.__name__ for kind in kinds if kind.__name__ not in tree] == []
    for parent, child in ((errors.Refused, errors.QueueFull), (errors.TaskError, errors.TaskLost)):
        assert issubclass(child, parent)


def test_the_verbs_of_a_queue_keep_their_arguments() -> None:
    for kind in (pyclient.Queue, pyclient.SyncQueue):
        assert [verb for verb in VERBS if not hasattr(kind, verb)] == []
        for verb, expected in SIGNATURES.items():
            signature = inspect.signature(getattr(kind, verb))
            bare = [
                one.replace(annotation=inspect.Parameter.empty)
                for one in signature.parameters.values()
            ]
            plain = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
            assert str(plain) == expected, verb
    assert str(pyclient.Queue.from_url().url) == "embedded://"
