"""Reads `lua/`, bundles each command with its includes, and knows what its header says.

A bundle is a pure function of the files: shebang, includes in order (each once, before the
command; lazy ones inside of their own function), the command; comments and blank lines dropped.
Its SHA1 is its address in Redis, so two releases live side by side. `Script.locate` turns a line
of a bundle into file and line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError

_TAG = re.compile(r"^-- @(\w+)\s+(.*\S)\s*$")
_SOURCE = re.compile(r"(?:user_script|@user_script)[:\s](\d+)")
_FLAGS = {"write": "#!lua flags=allow-oom", "grow": "#!lua", "read": "#!lua flags=no-writes"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a command's comment lines declare; see the grammar in CONTRIBUTING.md."""

    summary: str = ""
    kind: str = "write"
    keys: tuple[tuple[str, str, str], ...] = ()
    prefixes: tuple[tuple[str, str, str], ...] = ()
    args: tuple[tuple[str, str], ...] = ()
    returns: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    replay: str = ""
    cost: str = ""
    includes: tuple[str, ...] = ()
    lazy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """One command, bundled: what is loaded, and where each of its lines came from."""

    name: str
    text: bytes
    sha: str
    header: Header
    source_map: tuple[tuple[str, int], ...] = field(repr=False)

    def locate(self, line: int) -> tuple[str, int]:
        """File and line of a 1-based line of the bundle."""
        return self.source_map[line - 1]

    def explain(self, message: str) -> str:
        """An error message of Redis with `user_script:LINE` replaced by file and line."""

        def place(match: re.Match[str]) -> str:
            number = int(match.group(1))
            if not 1 <= number <= len(self.source_map):
                return match.group(0)
            return "{}:{}".format(*self.locate(number))

        return _SOURCE.sub(place, message)


def lua_root() -> Path:
    """Where the scripts are: `pyclient/_lua` in a wheel, `../lua` in a checkout."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "_lua", here.parent / "lua"):
        if (candidate / "cmd").is_dir():
            return candidate
    raise ConfigError(f"no Lua scripts beside {here}: reinstall peakshaver")


def load_scripts(
    root: Path | None = None, overrides: Mapping[str, Path] | None = None
) -> dict[str, Script]:
    """Bundle every command of `root`.

    `overrides` puts another file in place of an include (tests replace the clock); the
    bundle then has another SHA.
    """
    root = root or lua_root()
    return {
        path.stem: _bundle(path, root, overrides or {})
        for path in sorted((root / "cmd").glob("*.lua"))
    }


def read_header(path: Path) -> Header:
    """Parse the `-- @tag words` lines at the top of a Lua file."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        match = _TAG.match(line)
        if match:
            found.setdefault(match.group(1), []).append(match.group(2))
        elif not line.startswith("--"):
            break
    if path.parent.name == "cmd" and found.get("script") != [path.stem]:
        raise ConfigError(f"{path}: expected '-- @script {path.stem}' in its header")

    def one(tag: str) -> str:
        return " ".join(found.get(tag, []))

    def pairs(tag: str) -> tuple[tuple[str, str], ...]:
        return tuple((h, t) for h, _, t in (row.partition(" ") for row in found.get(tag, [])))

    def triples(tag: str) -> tuple[tuple[str, str, str], ...]:
        split = (row.split(None, 2) for row in found.get(tag, []))
        return tuple((r[0], r[1], r[2] if len(r) > 2 else "") for r in split)

    kind = one("kind") or "write"
    if kind not in _FLAGS:
        raise ConfigError(f"{path}: @kind is {kind!r}, expected one of {', '.join(_FLAGS)}")
    return Header(
        summary=one("summary"),
        kind=kind,
        keys=triples("key"),
        prefixes=triples("prefix"),
        args=tuple((name, rule.strip()) for name, rule in pairs("arg")),
        returns=tuple((word, rest.strip()) for word, rest in pairs("return")),
        words=tuple(one("word").split()),
        errors=tuple(one("error").split()),
        replay=one("replay"),
        cost=one("cost"),
        includes=tuple(one("include").split()),
        lazy=tuple(one("lazy").split()),
    )


def _bundle(path: Path, root: Path, overrides: Mapping[str, Path]) -> Script:
    header = read_header(path)
    rows = [(f"cmd/{path.name}", 1, _FLAGS[header.kind])]
    rows += _Bundler(path, header, root, overrides).rows()
    lines = [code for _, _, code in rows]
    places = [(file, number) for file, number, _ in rows]
    text = ("\n".join(lines) + "\n").encode()
    _refuse_globals(path, lines, places)
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return Script(path.stem, text, sha, header, tuple(places))


_Row = tuple[str, int, str]


class _Bundler:
    """The includes of one command, in order, each once.

    Each function of a bundle costs each call its creation, used or not. What a command seldom
    needs it names as `@lazy`: such an include is put, with all that nobody else needs, inside of
    its one function, the one that bears its name, and is created when that is called.
    """

    def __init__(
        self, path: Path, header: Header, root: Path, overrides: Mapping[str, Path]
    ) -> None:
        self._path, self._header, self._root, self._overrides = path, header, root, overrides
        self._eager = self._reached([n for n in header.includes if n not in header.lazy])
        self._done: set[str] = set()

    def rows(self) -> Iterator[_Row]:
        """File, line and code, line by line."""
        for name in (*self._header.includes, *self._header.lazy):
            yield from self._include(name)
        yield from _code(f"cmd/{self._path.name}", self._path)

    def _file(self, name: str) -> Path:
        file = self._overrides.get(name, self._root / "lib" / f"{name}.lua")
        if not file.is_file():
            raise ConfigError(f"{self._path.name}: no include named {name!r}")
        return file

    def _reached(self, names: Sequence[str], trail: tuple[str, ...] = ()) -> list[str]:
        """Names and what they include, the included first; lazy ones are not gone into."""
        found: list[str] = []
        for name in names:
            if name in trail:
                raise ConfigError(f"lua/lib/{name}.lua includes itself: {' > '.join(trail)}")
            if name not in self._header.lazy:
                inner = read_header(self._file(name)).includes
                found += self._reached(inner, (*trail, name))
            found.append(name)
        return list(dict.fromkeys(found))

    def _include(self, name: str) -> Iterator[_Row]:
        if name in self._done:
            return
        self._done.add(name)
        inner = self._reached(read_header(self._file(name)).includes)
        lazy = name in self._header.lazy
        for other in inner:
            if not lazy or other in self._eager or other in self._header.lazy:
                yield from self._include(other)
        if not lazy:
            yield from _code(f"lib/{name}.lua", self._file(name))
            return
        mine = [one for one in inner if one not in self._eager and one not in self._header.lazy]
        rows = [row for one in (*mine, name) for row in _code(f"lib/{one}.lua", self._file(one))]
        yield from self._wrapped(name, rows)

    def _wrapped(self, name: str, rows: list[_Row]) -> Iterator[_Row]:
        begin = f"local function {name}("
        entry = next((row for row in reversed(rows) if row[2].startswith(begin)), None)
        if entry is None:
            raise ConfigError(f"lua/lib/{name}.lua: expected '{begin}…)', since it is lazy")
        file, number, code = entry
        yield file, number, f"{begin}...)"
        for row in rows:
            yield row if row is not entry else (file, number, code.replace(name, "now", 1))
        yield file, number, "return now(...)"
        yield file, number, "end"


def _code(label: str, file: Path) -> Iterator[_Row]:
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        code = line.strip()
        if code and not code.startswith("--"):
            yield label, number, code


_KNOWN = set(
    """and break do else elseif end false for function if in local nil not or repeat return then
    true until while redis struct bit KEYS ARGV math string table tonumber tostring type unpack
    pairs ipairs next select error""".split()
)
_STRINGS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_NAME = re.compile(r"(?<![.:\w])([A-Za-z_]\w*)")
_LOCAL = re.compile(r"\blocal\s+(?!function)([\w\s,]+?)(?:=|$)")
_FUNCTION = re.compile(r"\bfunction\s*([\w.]*)\s*\(([^)]*)\)")
_FOR = re.compile(r"\bfor\s+([\w\s,]+?)\s*(?:=|\bin\b)")


def _refuse_globals(path: Path, lines: list[str], places: list[tuple[str, int]]) -> None:
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
