"""The command `peakshaver`: one file per verb, each imported when it is asked for."""

from .entry import main

__all__ = ["main"]
