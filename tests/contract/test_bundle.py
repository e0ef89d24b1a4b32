"""What of the files of a script comes into its bundle, and from where."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyclient.errors import ConfigError
from pyclient.scripts import Script, load_scripts


def bundle(root: Path, command: str, *, lazy: str = "", **libs: str) -> Script:
    """The bundle of a command that includes `libs` in order, or one of them, when it is called."""
    for name, text in libs.items():
        (root / "lib").mkdir(exist_ok=True)
        (root / "lib" / f"{name}.lua").write_text(text)
    (root / "cmd").mkdir()
    tag = f"lazy {lazy}" if lazy else f"include {' '.join(libs)}"
    header = f"-- @script one\n-- @{tag}\n"
    (root / "cmd" / "one.lua").write_text(header + command)
    return load_scripts(root)["one"]


def lines(script: Script) -> list[str]:
    return script.text.decode().splitlines()[1:]


def function(name: str, body: str = "return 1") -> str:
    return f"local function {name}(a)\n  {body}\nend\n"


def test_a_function_that_nothing_calls_is_left_out_with_what_only_it_called(tmp_path: Path) -> None:
    lib = function("low") + function("idle", "return low(a)") + function("used")
    script = bundle(tmp_path, "return used(1)\n", lib=lib)
    assert lines(script) == ["local function used(a)", "return 1", "end", "return used(1)"]


def test_neither_itself_nor_a_text_nor_a_field_keeps_a_function(tmp_path: Path) -> None:
    lib = function("idle", "return idle(a)") + function("named") + function("field")
    script = bundle(tmp_path, "local t = { field = 1 }\nreturn 'named' .. t.x.field\n", lib=lib)
    kept = [line for line in lines(script) if line.startswith("local function")]
    assert kept == ["local function field(a)"]  # `field =` may be a name: when in doubt, kept


def test_a_constant_stands_where_it_is_used_and_nowhere_else(tmp_path: Path) -> None:
    lib = "local MOST, FORM = 64, '>I7' -- of one call\nlocal q, MOST_OF = {}, { 1 }\n"
    script = bundle(tmp_path, "return { FORM, 'MOST', q.MOST, MOST, MOST_OF }\n", lib=lib)
    assert lines(script) == [
        "local q, MOST_OF = {}, { 1 }",
        "return { '>I7', 'MOST', q.MOST, 64, MOST_OF }",
    ]


def test_a_constant_has_one_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lib/b\.lua:1: MOST has two values"):
        bundle(tmp_path, "return MOST\n", a="local MOST = 1\n", b="local MOST = 2\n")


def test_a_lazy_include_is_one_function_and_keeps_what_it_calls(tmp_path: Path) -> None:
    libs = {
        "low": function("low") + function("idle"),
        "rare": "-- @include low\n" + function("rare", "return low(a)"),
    }
    script = bundle(tmp_path, "return ARGV[1] and rare(1)\n", lazy="rare", **libs)
    tops = [line for line in lines(script) if line.startswith("local function")]
    assert tops == ["local function rare(...)", "local function low(a)", "local function made(a)"]


def test_what_lazy_ones_alone_call_is_created_with_them(tmp_path: Path) -> None:
    libs = {
        "all": function("low") + function("both") + function("one", "return low(a)"),
        "rare": "-- @include all\n" + function("rare", "return one(a) + both(a)"),
        "seldom": "-- @include all\n" + function("seldom", "return both(a)"),
    }
    command = "-- @lazy rare seldom\nreturn both(1) or rare(1) or seldom(1)\n"
    script = bundle(tmp_path, command, **libs)
    made = [line.split("(")[0].split()[-1] for line in lines(script) if " function " in line]
    assert made == ["both", "rare", "low", "one", "made", "seldom", "made"]


def test_what_two_lazy_ones_call_is_in_both(tmp_path: Path) -> None:
    libs = {
        "all": function("both"),
        "rare": "-- @include all\n" + function("rare", "return both(a)"),
        "seldom": "-- @include all\n" + function("seldom", "return both(a)"),
    }
    script = bundle(tmp_path, "-- @lazy rare seldom\nreturn rare(1) or seldom(1)\n", **libs)
    text = script.text.decode()
    assert text.count("local function both(a)") == 2
    assert text.index("rare(...)") < text.index("both(a)") < text.index("rare = made")


def test_each_line_tells_its_file(tmp_path: Path) -> None:
    lib = "-- of use\nlocal MOST = 2\n" + function("idle") + "\n" + function("used", "return MOST")
    script = bundle(tmp_path, "return used(1)\n", lib=lib)
    assert script.locate(2) == ("lib/lib.lua", 7)
    assert script.explain("user_script:3: boom") == "lib/lib.lua:8: boom"
    assert script.locate(5) == ("cmd/one.lua", 3)
