"""`peakshaver worker`: becomes `python -m worker_app`, with the same arguments."""

from __future__ import annotations

from collections.abc import Sequence

from .become import become


def run_words(words: Sequence[str]) -> int:
    """Does not return where the process can be replaced."""
    return become("worker_app", words)
