"""What the web program asks for and the workers do: names, and types that mypy checks.

Both sides import this module, and neither imports the other: the web program needs no code of
the workers, nor their libraries.
"""

from __future__ import annotations

import os
from typing import TypedDict

from pyclient import Queue

URL = os.environ.get("PEAK_REDIS_URL", "embedded://.peak")
FIBONACCI, FACTORS = "fibonacci", "factors"


class Number(TypedDict):
    """The payload of both routes."""

    n: int


async def fibonacci(queue: Queue, n: int, *, level: int = 3, timeout: float = 10) -> str:
    """The n-th Fibonacci number, in decimal: a message carries integers up to 64 bits."""
    payload: Number = {"n": n}
    result: str = await queue.call(FIBONACCI, payload, level=level, timeout=timeout)
    return result


async def factors(queue: Queue, n: int, *, level: int = 5, timeout: float = 10) -> list[int]:
    """The prime factors of n, in order."""
    payload: Number = {"n": n}
    result: list[int] = await queue.call(FACTORS, payload, level=level, timeout=timeout)
    return result
