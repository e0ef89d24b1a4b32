"""The garbage collector of a process that is ours alone, the gateway's or a worker's."""

from __future__ import annotations

import gc

_YOUNG, _MIDDLE, _OLD = 5_000, 20, 50


def calm() -> None:
    """To be called once everything is imported and set up, before the work begins.

    By default each 700 new objects have the young ones looked at, and now and then all that the
    imports left, which holds everything up for 10 ms in a worker and 40 ms in a gateway; in all
    a tenth of the CPU (2026-11: 24 in place of 26 µs a round trip in a submitter, 6 % of a
    gateway's samples). What is there now is left out from here on, and the young are looked at
    seven times as seldom; new objects in cycles are still found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
