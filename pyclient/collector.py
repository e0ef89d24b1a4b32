"""The memory of a process that is ours alone, the gateway's or a worker's."""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_MMAP_THRESHOLD, _LARGE = -3, 256 * 1024
_YOUNG, _MIDDLE, _OLD = 5_000, 20, 50


def calm() -> None:
    """To be called once everything is imported and set up, before the work begins.

    By default each 700 new objects have the young ones looked at, and now and then all that the
    imports left, which holds everything up for 10 ms in a worker and 40 ms in a gateway; in all
    a tenth of the CPU (2026-11: 24 in place of 26 µs a round trip in a submitter, 6 % of a
    gateway's samples). What is there now is left out from here on, and the young are looked at
    seven times as seldom; new objects in cycles are still found.

    A request should leave none, or all that is alive is looked at for them again and again: until
    2026-11 each had one, which with 256 connections was an eighth of a gateway's CPU, and 130 ms
    in place of 40 for the slowest hundredth (tests/gateway/test_garbage.py).
    """
    _give_back()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)


def _give_back() -> None:
    """Have glibc map large blocks one by one, as it does until the first is freed: from then on
    it takes them from the heap, which keeps what a peak of large bodies took (2026-11, a gateway
    that holds 20 of 5 MB: 330 to 360 MB, and 112 to 121 with this). Other C libraries give back
    by themselves."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)
