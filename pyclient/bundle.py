"""The lines of a bundle: what each call would pay for in vain is left out.

All of a script's functions are made anew on each call, and so is what they share: a local that a
function uses costs as much as half a function. So functions that nothing calls are dropped, and a
constant (`local NAME = literal`, in capitals) is put where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from .errors import ConfigError

_KNOWN = set(
    """and break do else elseif end false for function if in local nil not or repeat return then
    true until while redis struct bit KEYS ARGV math string table tonumber tostring type unpack
    pairs ipairs next select error""".split()
)
_TOP_FUNCTION = re.compile(r"local function (\w+)\(")
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_NAME = re.compile(r"(?<![.:\w])([A-Za-z_]\w*)")
_LOCAL = re.compile(r"\blocal\s+(?!function)([\w\s,]+?)(?:=|$)")
_FUNCTION = re.compile(r"\bfunction\s*([\w.]*)\s*\(([^)]*)\)")
_FOR = re.compile(r"\bfor\s+([\w\s,]+?)\s*(?:=|\bin\b)")
_CAPITALS, _LITERAL = r"[A-Z][A-Z_0-9]*", r"(?:'[^',]*'|\d+)"
_CONSTANT = re.compile(
    rf"local ({_CAPITALS}(?:, {_CAPITALS})*) = ({_LITERAL}(?:, {_LITERAL})*)( --.*)?$"
)


class Row(NamedTuple):
    """A line of a bundle; `owner` is the function that it is part of, at the top of its file, and
    `inside` the lazy one that it stands in."""

    file: str
    number: int
    code: str
    owner: str = ""
    inside: str = ""


def code_of(label: str, file: Path) -> Iterator[Row]:
    """The lines of a file that hold code."""
    owner = ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        begins = _TOP_FUNCTION.match(line)
        owner = begins.group(1) if begins else owner
        code = line.strip()
        if code and not code.startswith("--"):
            yield Row(label, number, code, owner)
        if line == "end":
            owner = ""


@cache
def _names(code: str) -> frozenset[str]:
    return frozenset(_NAME.findall(_STRINGS.sub("''", code)))


def without_idle(rows: list[Row]) -> list[Row]:
    """Without functions that nothing else in the bundle names: each would cost each call its
    creation. What only they named goes with them."""
    named: dict[str, set[str]] = {}
    for row in rows:
        named.setdefault(row.owner, set()).update(_names(row.code))
    while True:
        idle = [
            one
            for one in named
            if one and not any(one in names for owner, names in named.items() if owner != one)
        ]
        if not idle:
            return [row for row in rows if row.owner in named]
        for one in idle:
            del named[one]


def moved_inside(rows: list[Row]) -> list[Row]:
    """With functions that lazy ones alone name inside of these, of each that needs them: so they
    are created with it, when it is called."""
    outer: dict[str, list[Row]] = {}
    inner: dict[str, list[Row]] = {}
    for row in rows:
        if row.inside:
            inner.setdefault(row.inside, []).append(row)
        else:
            outer.setdefault(row.owner, []).append(row)
    eager = _needed(outer, outer.get("", []))
    apart = {name: part for name, part in outer.items() if name and name not in eager}
    found: list[Row] = []
    for row in rows:
        if row.inside:
            found.append(row)
            if row is inner[row.inside][0]:
                needed = _needed(apart, inner[row.inside])
                mine = [one for one in rows if not one.inside and one.owner in needed]
                found += [one._replace(inside=row.inside) for one in mine]
        elif row.owner not in apart:
            found.append(row)
    return found


def _needed(functions: dict[str, list[Row]], rows: list[Row]) -> set[str]:
    """Which of the functions these lines name, and what they name in turn."""
    found: set[str] = set()
    ahead = [rows]
    while ahead:
        names = set().union(*(_names(row.code) for row in ahead.pop()))
        new = (names & functions.keys()) - found
        found |= new
        ahead += [functions[name] for name in new]
    return found


def with_constants(rows: list[Row]) -> list[Row]:
    """Constants by their values. Raises ConfigError where two of one name differ."""
    values: dict[str, str] = {}
    rest: list[Row] = []
    for row in rows:
        found = _CONSTANT.match(row.code)
        if found is None:
            rest.append(row)
            continue
        for name, value in zip(found[1].split(", "), found[2].split(", "), strict=True):
            if values.setdefault(name, value) != value:
                raise ConfigError(f"lua/{row.file}:{row.number}: {name} has two values")
    if not values:
        return rest
    used = re.compile(rf"({_STRINGS.pattern})|(?<![.:\w])({'|'.join(values)})\b")
    return [row._replace(code=used.sub(lambda m: m[1] or values[m[2]], row.code)) for row in rest]


def refuse_globals(path: Path, lines: list[str], places: list[tuple[str, int]]) -> None:
    """Refuse a name that is never declared anywhere in the bundle: a script that meets an
    undefined global raises half-way, after its first writes (found by a property test).
    luacheck does the exact job in CI; this runs at every load."""
    code = [_STRINGS.sub("''", line).split("--")[0] for line in lines[1:]]
    known = set(_KNOWN)
    for line in code:
        for match in (*_LOCAL.finditer(line), *_FOR.finditer(line)):
            known.update(name.strip() for name in match.group(1).split(","))
        for match in _FUNCTION.finditer(line):
            known.add(match.group(1).split(".")[0])
            known.update(name.strip() for name in match.group(2).split(","))
    for index, line in enumerate(code, 1):
        for match in _NAME.finditer(line):
            name, after = match.group(1), line[match.end() :].lstrip()
            field_key = after.startswith("=") and not after.startswith("==")
            if name not in known and not field_key:
                file, number = places[index]
                raise ConfigError(f"lua/{file}:{number}: {name!r} is not defined ({path.name})")
