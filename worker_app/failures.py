"""What is said of a handler that failed, and when it is asked again."""

from __future__ import annotations

import random

from .context import Retry

TEXT_BYTES = 4000
_LONGEST_BACKOFF_S = 60.0
_LONGEST_DELAY_S = 2_592_000.0


class RemoteError(Exception):
    """What a process of the pool said of its handler, as text."""


def describe(error: BaseException) -> str:
    """`<class>: <text>`, whatever the error's own `__str__` does."""
    try:
        text = str(error)
    except BaseException:  # the handler's own class may be broken, or exit there
        text = "(its text can't be had)"
    if not isinstance(error, Retry | RemoteError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:TEXT_BYTES].encode("utf-8", "backslashreplace").decode()


def retry_ms(attempt: int, attempts: int, error: BaseException) -> int:
    """What the handler asked for, else full jitter. The last attempt is buried at once."""
    if attempt >= attempts:
        return 0
    if isinstance(error, Retry) and error.delay is not None:
        return round(min(max(error.delay, 0.0), _LONGEST_DELAY_S) * 1000)
    bound = min(_LONGEST_BACKOFF_S, 2.0 ** min(attempt - 1, 16))
    return round(random.uniform(0.0, bound) * 1000)
