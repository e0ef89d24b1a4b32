"""How bad the network of a simulation is."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Weather:
    """How often what goes wrong, and how long a way takes (seconds, on average)."""

    delay: float = 0.001
    lost: float = 0.0
    late: float = 0.0
    mute: float = 0.0
    silent: float = 0.0
    copied: float = 0.0

    @classmethod
    def of(cls, rng: random.Random) -> Weather:
        """One kind of weather."""
        bad = rng.choice([0.0, 0.02, 0.05, 0.1])
        return cls(
            delay=rng.choice([0.0005, 0.01, 0.08]),
            lost=bad,
            late=bad,
            mute=bad,
            silent=bad / 8,
            copied=rng.choice([0.0, 0.05, 0.2]),
        )
