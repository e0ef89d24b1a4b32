"""Rules of the house that a reader would have to remember otherwise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyclient.scripts import Script

from .conftest import scripts_root

ROOT = Path(__file__).parents[2]
FILES = sorted(scripts_root().glob("*/*.lua"))
STRINGS = re.compile(r"'(?:\\.|[^'\\])*'")
# Unbounded or unsafe in a script, or what another server would do otherwise.
BANNED_COMMANDS = "KEYS SCAN HSCAN SSCAN ZSCAN SMEMBERS LRANGE_ALL FLUSHALL FLUSHDB EVAL PUBLISH"
BANNED_NAMES = (
    "cjson cmsgpack pcall xpcall setmetatable getmetatable rawset rawget loadstring load dofile "
    "require setfenv getfenv os io debug coroutine math.random print"
)


def code(file: Path) -> Iterator[tuple[int, str]]:
    """Lines without comments."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        bare = STRINGS.sub(lambda m: m.group(0).replace("--", "__"), line).split("--")[0]
        if bare.strip():
            yield number, bare


def found(pattern: str, *, strings: bool = True) -> list[str]:
    """All places where a pattern stands in code."""
    regex = re.compile(pattern)
    return [
        f"{file.parent.name}/{file.name}:{number}: {line.strip()}"
        for file in FILES
        for number, line in code(file)
        if regex.search(line if strings else STRINGS.sub("''", line))
    ]


@pytest.mark.parametrize("command", BANNED_COMMANDS.split())
def test_no_command_that_walks_or_reaches_elsewhere(command: str) -> None:
    assert not found(rf"redis\.call\(\s*'{command}'")


@pytest.mark.parametrize("name", BANNED_NAMES.split())
def test_no_function_that_does_not_belong_in_a_script(name: str) -> None:
    assert not found(rf"(?<![\w.]){re.escape(name)}\s*[.(]", strings=False)


def test_commands_are_upper_case_and_literal() -> None:
    wrong = [
        line for line in found(r"redis\.p?call\([^)]") if not re.search(r"call\(\s*'[A-Z]+'", line)
    ]
    allowed = [line for line in wrong if "call(unpack(" in line or "call(command," in line]
    assert wrong == allowed


def test_times_and_ticks_are_formatted_before_they_are_joined() -> None:
    """`..` writes 14 digits: a tick has 14 now and 15 in 2028."""
    number = r"[\w.]*(?:_us|_ms|tick|fence|\bus|\bnow)\b"
    joined = found(rf"\.\.\s*{number}(?!\s*\()", strings=False)
    joined += found(rf"{number}\s*\.\.", strings=False)
    # The cursor's tick is text, as Redis wrote it.
    text_of_redis = ("'(' .. tick,", "q.cursor = lane and lane .. ' ' .. tick or ''")
    assert [line for line in joined if not line.endswith(text_of_redis)] == []


def test_ranges_have_a_limit() -> None:
    """A range by score or name is cut; one by rank says where it ends."""
    text = "\n".join(line for file in FILES for _, line in code(file))
    for call in re.findall(r"redis\s*\.call\(\s*'ZRANGE'[^;]*?\)\n", text):
        if "BYSCORE" in call or "BYLEX" in call:
            assert "LIMIT" in call, call
    assert not found(r"'(?:ZRANGE|LRANGE)',[^,]+, 0, -1")


def test_files_and_lines_are_short() -> None:
    for file in FILES:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 300, file
        # The targets of an unpack and the fields of a header stay on one line.
        long = [line for line in lines if len(line) > 100 and not line.endswith(" =")]
        assert all(line.startswith("-- @") for line in long), file


def test_no_global_is_set() -> None:
    assert not found(r"^function\s")


def test_a_bundle_asks_for_the_time_once(scripts: dict[str, Script]) -> None:
    for name, script in scripts.items():
        lines = script.text.decode().splitlines()
        asked = sum("now_us()" in line and "function" not in line for line in lines)
        assert sum("'TIME'" in line for line in lines) == (asked > 0), name
        # Two functions of a bundle may ask, one of them in a call.
        assert asked <= 2, f"{name} asks {asked} times"


def test_no_include_is_there_for_nothing(scripts: dict[str, Script]) -> None:
    """Each function of a bundle costs each call its creation, used or not."""
    for name, script in scripts.items():
        lines: dict[str, str] = {}
        for line, (file, _) in zip(
            script.text.decode().split("\n"), script.source_map, strict=False
        ):
            lines[file] = lines.get(file, "") + STRINGS.sub("''", line.split("--")[0]) + "\n"
        for file, text in lines.items():
            own = re.findall(r"^local (?:function )?(\w+)", text, re.MULTILINE)
            others = "".join(other for at, other in lines.items() if at != file)
            used = any(re.search(rf"\b{one}\b", others) for one in own)
            assert used or file.startswith("cmd/"), f"{name} includes {file} for nothing"


def said(*command: str) -> str:
    """What a tool finds; empty where it is content. Skips where it is not installed."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed here")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout + done.stderr if done.returncode else ""


def test_luac_compiles_every_bundle(scripts: dict[str, Script], tmp_path: Path) -> None:
    for name, script in scripts.items():
        (tmp_path / f"{name}.lua").write_text(script.text.decode().partition("\n")[2])
    assert not said("luac5.1", "-p", *(str(path) for path in tmp_path.glob("*.lua")))


def test_luacheck_finds_nothing() -> None:
    if shutil.which("luacheck") is None:
        pytest.skip("luacheck is not installed here (apt install lua-check)")
    assert not said(sys.executable, ".ci/lint_lua.py")


def test_stylua_would_change_nothing() -> None:
    assert not said("stylua", "--config-path", "stylua.toml", "--check", str(scripts_root()))
