"""The checker and the books of the queue: what was admitted is what has ended."""

from __future__ import annotations

from .checks import COUNTED
from .history import Event
from .test_checker import S, caught, sound


def books(**counts: int) -> Event:
    """What the queue counted."""
    none = dict.fromkeys(COUNTED, 0)
    return {"t": 99 * S + 1, "p": "conductor", "e": "books", **none, **counts}


def test_the_books_of_the_queue_balance() -> None:
    assert caught([*sound(), books(admitted=3, done=3)]) == set()
    assert caught([*sound(), books(admitted=4, done=3)]) == {"C1"}
    assert caught([*sound(), books(admitted=4, done=3, cancelled=1)]) == {"C1"}
