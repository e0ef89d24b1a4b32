"""Reads `lua/`, bundles each command with its includes, and knows what its header says.

A bundle is a pure function of the files: shebang, includes in order (each once, before the
command; lazy ones inside of their own function), the command; comments, blank lines and functions
that nothing in the bundle calls are dropped, and constants put where they are used.
Its SHA1 is its address in Redis, so two releases live side by side. `Script.locate` turns a line
of a bundle into file and line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .bundle import Row, code_of, moved_inside, refuse_globals, with_constants, without_idle
from .errors import ConfigError

_TAG = re.compile(r"^-- @(\w+)\s+(.*\S)\s*$")
_SOURCE = re.compile(r"(?:user_script|@user_script)[:\s](\d+)")
_BEGIN = "local function "
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
    rows = [Row(f"cmd/{path.name}", 1, _FLAGS[header.kind])]
    found = without_idle([*_Bundler(path, header, root, overrides).rows()])
    rows += with_constants(moved_inside(found))
    lines = [row.code for row in rows]
    places = [(row.file, row.number) for row in rows]
    text = ("\n".join(lines) + "\n").encode()
    refuse_globals(path, lines, places)
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return Script(path.stem, text, sha, header, tuple(places))


class _Bundler:
    """The includes of one command, in order, each once.

    Each function of a bundle costs each call its creation, used or not. What a command seldom
    needs it names as `@lazy`: such an include is put, with all that nobody else needs, inside of
    its last function, and is created when that is called first.
    """

    def __init__(
        self, path: Path, header: Header, root: Path, overrides: Mapping[str, Path]
    ) -> None:
        self._path, self._header, self._root, self._overrides = path, header, root, overrides
        self._eager = self._reached([n for n in header.includes if n not in header.lazy])
        self._done: set[str] = set()

    def rows(self) -> Iterator[Row]:
        """File, line and code, line by line."""
        for name in (*self._header.includes, *self._header.lazy):
            yield from self._include(name)
        yield from code_of(f"cmd/{self._path.name}", self._path)

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

    def _include(self, name: str) -> Iterator[Row]:
        if name in self._done:
            return
        self._done.add(name)
        inner = self._reached(read_header(self._file(name)).includes)
        lazy = name in self._header.lazy
        for other in inner:
            if not lazy or other in self._eager or other in self._header.lazy:
                yield from self._include(other)
        if not lazy:
            yield from code_of(f"lib/{name}.lua", self._file(name))
            return
        mine = [one for one in inner if one not in self._eager and one not in self._header.lazy]
        rows = [row for one in (*mine, name) for row in code_of(f"lib/{one}.lua", self._file(one))]
        yield from self._wrapped(name, rows)

    def _wrapped(self, name: str, rows: list[Row]) -> Iterator[Row]:
        entry = next((row for row in reversed(rows) if row.code.startswith(_BEGIN)), None)
        if entry is None:
            raise ConfigError(f"lua/lib/{name}.lua: expected a function, since it is lazy")
        called = entry.code.removeprefix(_BEGIN).partition("(")[0]
        yield Row(entry.file, entry.number, f"{_BEGIN}{called}(...)", inside=name)
        for row in rows:
            code = row.code if row is not entry else entry.code.replace(called, "made", 1)
            owner = "" if row.owner == called else row.owner
            yield row._replace(code=code, owner=owner, inside=name)
        # The name stands for what was made from now on: who calls it again pays nothing.
        yield Row(entry.file, entry.number, f"{called} = made", inside=name)
        yield Row(entry.file, entry.number, "return made(...)", inside=name)
        yield Row(entry.file, entry.number, "end", inside=name)
