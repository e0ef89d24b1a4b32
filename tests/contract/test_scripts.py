"""Each script is told of in four places that must agree: its header, the contract page, the table
of keys, and the method that calls it. What the scripts do with it is tested in tests/lua.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from pyclient import keys
from pyclient.commands import Commands
from pyclient.scripts import Script, load_scripts

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = load_scripts(ROOT / "lua")
PAGE = (ROOT / "lua" / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
LUA = "\n".join(one.read_text(encoding="utf-8") for one in (ROOT / "lua").rglob("*.lua"))
each = pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
# `id` is a builtin, so the method says what kind of id; how replies are read is Python's business.
RENAMED = {"place_id": "id"}
OURS = {"hold", "stand"}
# Groups that the page tells in a table of their own.
IN_A_TABLE = {"profiles", "buckets"}


def section(name: str) -> str:
    """What the page says of a script, its heading first."""
    match = re.search(rf"^### {name}\b.*?(?=^### |^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"lua/README.md has no section on {name}"
    return match[0]


def fields(rule: str) -> list[str]:
    """The names in a group: of `groups 1..64 of id fence` they are `id fence`."""
    match = re.search(r"groups \S+ of (.+)|, then (.+) each", rule)
    return (match[1] or match[2]).split() if match else []


def test_the_page_tells_of_each_script_and_of_no_other() -> None:
    assert sorted(re.findall(r"^### (\w+)", PAGE, re.MULTILINE)) == sorted(SCRIPTS)


def test_each_script_has_a_method_and_each_method_a_script() -> None:
    methods = {
        name
        for name, one in vars(Commands).items()
        if inspect.iscoroutinefunction(one) and not name.startswith("_")
    }
    assert methods == set(SCRIPTS)


@each
def test_the_method_takes_what_the_header_says(script: Script) -> None:
    parameters = list(inspect.signature(getattr(Commands, script.name)).parameters)[1:]
    taken = [RENAMED.get(name, name) for name in parameters if name not in OURS]
    assert taken == [name for name, _ in script.header.args]
    assert inspect.getdoc(getattr(Commands, script.name))


@each
def test_the_heading_of_the_page_lists_the_arguments_in_order(script: Script) -> None:
    heading = section(script.name).splitlines()[0]
    told = " ".join(re.findall(r"`([^`]+)`", heading)).split()
    expected: list[str] = []
    for name, rule in script.header.args:
        group = fields(rule)
        if not group or (name in IN_A_TABLE and script.name == "admit"):
            expected.append(name)
        else:
            expected += group
    assert told == expected


@each
def test_the_page_tells_the_bounds_of_each_list(script: Script) -> None:
    text = section(script.name)
    for _, rule in script.header.args:
        match = re.match(r"groups (\d+\.\.\d+) of", rule)
        if match and match[1] != "0..0":
            assert f"× {match[1]}" in text


@each
def test_the_page_tells_every_word(script: Script) -> None:
    text = section(script.name)
    words = [word for word in script.header.words if not re.search(rf"\b{word}\b", text)]
    assert words == []


@each
def test_the_page_tells_every_field_of_the_reply(script: Script) -> None:
    text = section(script.name)
    for word, rest in script.header.returns:
        if word != "OK":
            continue
        for field in rest.split():
            name = field.partition(":")[0]
            singular = name.removesuffix("s")
            assert name in text or singular in text or script.name == "gauge", name


@each
def test_choices_are_told_as_the_header_has_them(script: Script) -> None:
    for name, rule in script.header.args:
        # What a mode is stands at admit and before all scripts.
        text = PAGE if name == "mode" else section(script.name)
        if rule.startswith("word "):
            for choice in rule.removeprefix("word ").split("|"):
                assert f"`{choice}`" in text, choice


@each
def test_the_method_sends_as_many_arguments_as_the_header_has(script: Script) -> None:
    source = inspect.getsource(getattr(Commands, script.name))
    assert f'"{script.name}"' in source


# -- the table of keys ------------------------------------------------------------------------


def table() -> list[tuple[str, str]]:
    """Pattern and life of each key in ARCHITECTURE.md."""
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| [^|]+ \| ([^|]+) \|$", ARCHITECTURE, re.MULTILINE)
    return [(key, life) for names, life in rows for key in re.findall(r"`([^`]+)`", names)]


def stem(pattern: str) -> str:
    """`wait:<level>:<route>` -> `wait:`; `tasks` -> `tasks`."""
    return pattern.partition("<")[0]


def spelled() -> set[str]:
    """All keys that the scripts and keys.py spell, by their first part."""
    found = set(re.findall(r"prefix \.\. '([a-z]+:?)'", LUA))
    found |= {f"{one}:" for one in re.findall(r"return '([a-z]+):'", LUA)}
    source = inspect.getsource(keys)
    found |= set(re.findall(r"self\.base \+ b\"([a-z]+:)", source))
    return found | set(re.findall(r"\+ b\":?([a-z]+)\"", source))


def test_the_table_has_every_key_that_is_spelled() -> None:
    known = {stem(pattern) for pattern, _ in table()}
    assert len(known) > 20, "the table was not found"
    # A list of sweep keys and the lanes, whose first part is in a variable, are spelled besides.
    assert sorted(spelled() - known) == []


def test_every_key_of_the_table_is_spelled() -> None:
    missing = [
        pattern
        for pattern, _ in table()
        if stem(pattern) not in spelled() and f"'{stem(pattern)}'" not in LUA
    ]
    assert missing == []


def test_every_key_has_a_life() -> None:
    for pattern, life in table():
        assert life.strip(), pattern


@each
def test_the_header_names_keys_of_the_table_only(script: Script) -> None:
    known = {stem(pattern) for pattern, _ in table()}
    told = {prefix for prefix, _, _ in script.header.prefixes}
    assert sorted(told - known) == []
