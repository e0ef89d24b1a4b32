"""Reads the settings of the process: the environment, then `.env` of the working directory.

`load` stops at the first thing that is wrong with one line that names the setting, what was
expected and what came; the value of a secret is never part of a message.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

from .durability import demanding
from .errors import ConfigError
from .settings_table import TABLE, Setting, Settings

PREFIXES = ("FAST_PRIORITY_", "PEAK_")
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_QUOTED = re.compile(r"(?:'([^']*)'|\"((?:[^\"\\]|\\.)*)\")\s*(?:#.*)?")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_URL_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)(.*)@", re.DOTALL)
_URL_SECRET = re.compile(r"([?&](?:[^=&\s]*_)?(?:password|token|secret)=)[^&\s]*", re.IGNORECASE)
_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^\s'\"]{0,4096}@")
_BY_NAME: dict[str, Setting] = {
    name: setting for setting in TABLE for name in (setting.name, *setting.aliases)
}
_FILE_NAMES: dict[str, Setting] = {f"{s.name}_FILE": s for s in TABLE if s.secret}


def load(environ: Mapping[str, str] | None = None, cwd: str | Path | None = None) -> Settings:
    """The settings, checked; raises ConfigError with one line.

    A variable of the environment beats the same one in `.env`. `NAME_FILE` holds the path of a
    file with the value of a secret `NAME`. An empty variable counts as unset, save for lists.
    """
    real = os.environ if environ is None else environ
    folder = Path.cwd() if cwd is None else Path(cwd)
    found: dict[str, tuple[str, str]] = dict(_dotenv(folder / ".env"))
    found.update({name: (value, "environment") for name, value in real.items() if _ours(name)})
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    sources: dict[str, bool] = {}
    for name, (text, origin) in found.items():
        setting, text, origin = _resolve(name, text, origin)
        if text == "" and not setting.empty:
            continue
        value = _parse(setting, name, text)
        if setting.attribute in values and sources[setting.attribute] == (name in real):
            _agree(setting, name, values[setting.attribute], value)
        values[setting.attribute] = value
        sources[setting.attribute] = name in real
        origins[setting.name] = origin
    return Settings(**cast(Any, values), origins=origins, notes=_notes(values))


def _ours(name: str) -> bool:
    return name.startswith(PREFIXES)


def _resolve(name: str, text: str, origin: str) -> tuple[Setting, str, str]:
    """The setting that a variable means, and its text: for NAME_FILE that of the file."""
    setting = _BY_NAME.get(name)
    if setting is not None:
        return setting, text, origin
    setting = _FILE_NAMES.get(name)
    if setting is None:
        raise ConfigError(_unknown(name, origin))
    if text == "":
        return setting, text, origin
    try:
        content = Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(
            f"{name}: expected a file that can be read, got {text!r} ({reason})"
        ) from None
    return setting, content.rstrip("\r\n"), f"file {text}"


def _unknown(name: str, origin: str) -> str:
    known = {**_BY_NAME, **_FILE_NAMES}
    bare = name.removeprefix(PREFIXES[0]).removeprefix(PREFIXES[1])
    close = [prefix + bare for prefix in PREFIXES if prefix + bare in known]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]}?" if close else "`peakshaver config docs` lists all names."
    where = "" if origin == "environment" else f" in {origin}"
    return f"Unknown setting {name}{where}. {hint}"


def _parse(setting: Setting, name: str, text: str) -> object:
    try:
        return setting.parse(text if setting.secret else text.strip())
    except ValueError as error:
        came = "something else (not shown: a secret)" if setting.secret else repr(redact(text)[:80])
        raise ConfigError(f"{name}: expected {error}, got {came}") from None


def _agree(setting: Setting, name: str, before: object, now: object) -> None:
    """Two spellings of one setting must say the same."""
    if before != now:
        others = " / ".join(sorted({setting.name, *setting.aliases, name}))
        raise ConfigError(f"{others}: set twice with different values; keep one of them")


def _notes(values: Mapping[str, object]) -> tuple[str, ...]:
    """What the log should say once, at the start."""
    loser = [s.name for s in TABLE if s.name.startswith("FAST_PRIORITY_REDIS_")]
    loser = [name for name in loser if _BY_NAME[name].attribute in values]
    if "redis_url" in values and loser:
        return (f"PEAK_REDIS_URL is used; {', '.join(loser)} ignored",)
    return ()


def _dotenv(path: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Our names of a `.env` file, each with value and place; no interpolation."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise ConfigError(f"{path}: expected a file that can be read ({reason})") from None
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is not None and _ours(match[1]):
            yield match[1], (_unquote(match[2], f"{path}:{number}"), f"{path}:{number}")


def _unquote(text: str, place: str) -> str:
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
    match = _QUOTED.fullmatch(text)
    if match is None:
        raise ConfigError(f"{place}: expected a closing quote at the end of the line")
    if match[1] is not None:
        return str(match[1])
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), str(match[2]))


def redis_address(settings: Settings) -> str:
    """The address of Redis: PEAK_REDIS_URL, else built from the four FAST_PRIORITY_REDIS_*; with
    what PEAK_DURABILITY demands."""
    return demanding(_address(settings), settings.durability)


def _address(settings: Settings) -> str:
    if settings.redis_url is not None:
        return settings.redis_url
    host = f"[{settings.redis_host}]" if ":" in settings.redis_host else settings.redis_host
    login = ""
    if settings.redis_user or settings.redis_password:
        login = quote(settings.redis_user or "", safe="") + ":"
        login += quote(settings.redis_password or "", safe="") + "@"
    return f"redis://{login}{host}:{settings.redis_port}"


def redact(url: str) -> str:
    """An address that may be logged: user, password and secret parameters replaced by `***`."""
    return _URL_SECRET.sub(r"\1***", _URL_USER.sub(r"\1***@", url))


def redact_text(text: str) -> str:
    """A log line in which every address is redacted."""
    return _URL_SECRET.sub(r"\1***", _IN_TEXT.sub(r"\1***@", text))


def shown(settings: Settings) -> list[tuple[Setting, str, str]]:
    """Each setting with its value as text (secrets redacted) and where it came from."""
    rows = []
    for setting in TABLE:
        value = getattr(settings, setting.attribute)
        origin = settings.origins.get(setting.name, "default")
        if value is None:
            text = setting.shown
        elif setting.secret:
            text = redact(str(value)) if "://" in str(value) else "***"
        elif isinstance(value, tuple):
            text = ",".join(str(item) for item in value)
        else:
            text = f"{value:g}" if isinstance(value, float) else str(value)
        rows.append((setting, text, origin))
    return rows


_INTRO = """\
# Settings

Environment variables, or lines of a `.env` file in the working directory (a real variable beats
it). Durations are seconds, or bear a unit (`500ms`, `15s`, `5m`); sizes are bytes, or bear one
(`512KiB`, `10MiB`, `1GB`). A secret can be given as `NAME_FILE`, the path of a file that holds it.
An unknown name that begins with `FAST_PRIORITY_` or `PEAK_` is an error.
"""
_TITLES = ("Names of fast-priority", "Names of peakshaver")


def render_docs() -> str:
    """The table of all settings as Markdown, for docs/reference/settings.md."""
    lines = [_INTRO]
    for prefix, title in zip(PREFIXES, _TITLES, strict=True):
        lines += [f"## {title}", "", "| Name | Value | Default | Meaning |", "|---|---|---|---|"]
        lines += [_doc_row(setting) for setting in TABLE if setting.name.startswith(prefix)]
        lines.append("")
    return "\n".join(lines)


def _doc_row(setting: Setting) -> str:
    names = ", ".join(f"`{name}`" for name in (setting.name, *setting.aliases))
    default = setting.shown if "`" in setting.shown else f"`{setting.shown}`"
    doc = setting.doc + (" Secret." if setting.secret else "")
    return f"| {names} | {setting.kind} | {default if setting.shown else '–'} | {doc} |"


__all__ = [
    "TABLE",
    "Setting",
    "Settings",
    "load",
    "redact",
    "redact_text",
    "redis_address",
    "render_docs",
    "shown",
]
