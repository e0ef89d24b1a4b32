"""No pattern of ours takes long over a hostile text: 100 KB cost milliseconds."""

from __future__ import annotations

import importlib
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIZE = 100_000
# Each begins as something that a pattern may like and never ends as it should.
TEXTS = [
    "a" * SIZE,
    "/" * SIZE,
    "0" * SIZE,
    " \t" * (SIZE // 2),
    "a:" * (SIZE // 2),
    "a: b\r\n" * (SIZE // 6) + "\0",
    "/a%2e" * (SIZE // 5) + "\\",
    "redis://" + "a@" * (SIZE // 2),
    "redis://h?" + "password=" * (SIZE // 9),
    "x{" * (SIZE // 2),
    "[" * SIZE,
    "P1 - GET /" + "a" * SIZE + " http",
    "R1 200 5 ok " + "b" * SIZE + "\0",
    "peak:{" + "q" * SIZE,
    "'" * SIZE,
    "-- @" + "arg " * (SIZE // 4),
]


# Reads what the operator wrote as an address, and nothing else.
OF_THE_OPERATOR = ("pyclient.address._SECRET",)
WAYS = ("match", "fullmatch", "search", "finditer")


def patterns() -> Iterator[tuple[str, re.Pattern[str] | re.Pattern[bytes], list[str]]]:
    """Every compiled pattern that a module of the product holds, and how it is asked."""
    for folder in ("pyclient", "gateway_app", "worker_app"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if "re.compile(" not in source:
                continue
            module = importlib.import_module(
                ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            )
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    asked = source.replace("findall", "finditer").replace(".sub(", ".finditer(")
                    ways = [way for way in WAYS if f"{name}.{way}(" in asked]
                    yield f"{module.__name__}.{name}", value, ways or ["fullmatch"]


@pytest.mark.filterwarnings("ignore:the names of fastapi-queue:DeprecationWarning")
def test_every_pattern_is_done_with_100_kilobytes_at_once() -> None:
    slow, count = [], 0
    for name, pattern, ways in patterns():
        count += 1
        if name in OF_THE_OPERATOR:
            continue
        for text in TEXTS:
            data = text if isinstance(pattern.pattern, str) else text.encode()
            begun = time.process_time()
            for way in ways:
                found = getattr(pattern, way)(data)
                if way == "finditer":
                    deque(found, maxlen=0)
            if (took := time.process_time() - begun) > 0.2:
                slow.append(f"{name} {pattern.pattern!r} took {took:.1f} s on {text[:20]!r}")
    assert count > 20
    assert not slow, "\n".join(slow)
