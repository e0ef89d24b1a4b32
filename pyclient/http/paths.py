"""Raw request paths: passed on byte for byte or refused, and sorted into levels.

Nothing here rewrites a path. It is decoded only to look at it: a path is refused (400) where
decoding it once or twice gives a `.` or `..` segment, a control byte, or where it holds what no
origin-form has (RFC 9112 §3.2.1). What is left reaches the target with the bytes that came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

HIGH, LOW = 3, 4

_RAW = re.compile(rb"/[^\x00-\x20\x7f\\#?]*")
_QUERY = re.compile(rb"[^\x00-\x20\x7f#]*")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_DOTS = re.compile(rb"(?:^|[/\\])\.{1,2}(?:[/\\;?#]|$)")
_REMEMBERED = 4096
_REMEMBERED_LENGTH = 512


def refusal(raw_path: bytes) -> str:
    """Why a raw path is not passed on; empty where it is."""
    if _RAW.fullmatch(raw_path) is None:
        if not raw_path.startswith(b"/"):
            return "the request target is not a path that begins with /"
        return "the path holds a control byte, a blank, a backslash or #"
    form = raw_path
    for _ in range(3):
        if _DOTS.search(form) is not None:
            return "the path holds a . or .. segment"
        if _CONTROL.search(form) is not None:
            return "the path holds an encoded control byte"
        if b"%" not in form:
            break
        form = unquote_to_bytes(form)
    return ""


def query_refusal(raw_query: bytes) -> str:
    """Why a raw query is not passed on; empty where it is."""
    if _QUERY.fullmatch(raw_query) is None:
        return "the query holds a control byte, a blank or #"
    return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done with a path."""

    level: int
    pass_through: bool
    refusal: str


class PathRules:
    """Sorts paths by the FAST_PRIORITY_* settings; verdicts of short paths are remembered.

    Listed paths are compared decoded, without their leading slash; a base path matches whole
    segments. `normalize` makes a trailing slash of listed and passed-through paths optional.
    """

    __slots__ = ("_bases", "_exact", "_high_is_listed", "_known", "_pass")

    def __init__(
        self,
        *,
        listed: Iterable[str] = (),
        bases: Iterable[str] = (),
        pass_through: Iterable[str] = (),
        high_is_listed: bool = False,
        normalize: bool = True,
    ) -> None:
        self._exact = _exact(listed, normalize=normalize)
        self._pass = _exact(pass_through, normalize=normalize)
        self._bases = tuple(_base(item, normalize=normalize) for item in bases)
        self._high_is_listed = high_is_listed
        self._known: dict[bytes, Verdict] = {}

    def judge(self, raw_path: bytes) -> Verdict:
        """The verdict on a raw path (without query)."""
        verdict = self._known.get(raw_path)
        if verdict is None:
            verdict = self._judge(raw_path)
            if len(raw_path) <= _REMEMBERED_LENGTH:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[raw_path] = verdict
        return verdict

    def _judge(self, raw_path: bytes) -> Verdict:
        reason = refusal(raw_path)
        if reason:
            return Verdict(LOW, pass_through=False, refusal=reason)
        path = unquote_to_bytes(raw_path)[1:]
        listed = path in self._exact or any(
            path == base or path.startswith(below) for base, below in self._bases
        )
        level = HIGH if listed == self._high_is_listed else LOW
        return Verdict(level, pass_through=path in self._pass, refusal="")


def _exact(items: Iterable[str], *, normalize: bool) -> frozenset[bytes]:
    found: set[bytes] = set()
    for item in items:
        path = item.encode("utf-8").removeprefix(b"/")
        found.add(path)
        if normalize:
            bare = path.rstrip(b"/")
            found |= {bare, bare + b"/"}
    return frozenset(found)


def _base(item: str, *, normalize: bool) -> tuple[bytes | None, bytes]:
    """A base path as (the path itself, what everything below begins with)."""
    path = item.encode("utf-8").removeprefix(b"/")
    bare = path.rstrip(b"/")
    below = bare + b"/" if bare else b""
    return (bare if normalize or path == bare else None), below
