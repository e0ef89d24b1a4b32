"""Settings of a queue that is running: from the arguments of `configure` to those of the script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .commands import Arg, Commands
from .errors import ConfigError
from .keys import check_route, shorten
from .profiles import to_ms

_BATCH = 63
_LONGEST_STEP_S = 86_400


def settings_of(
    *,
    limit: int | None = None,
    capacity: int | None = None,
    reserve: Sequence[int] | None = None,
    lease: float | None = None,
    level_step: float | str | None = None,
    concurrency: Mapping[str, int] | None = None,
    room: Mapping[str, int] | None = None,
) -> dict[str, Arg]:
    """Names and values as lua/README.md has them; what is None is left out. Raises ConfigError."""
    settings: dict[str, Arg] = {}
    if limit is not None:
        settings["limit"] = _count("limit", limit)
    if capacity is not None:
        settings["capacity"] = _count("capacity", capacity)
    if reserve is not None:
        settings["reserve"] = ",".join(str(_count("reserve", mark)) for mark in reserve)
    if lease is not None:
        settings["lease_ms"] = to_ms(lease, what="lease")
    if level_step is not None:
        settings["level_step_ms"] = _step(level_step)
    for kind, limits in (("concurrency", concurrency), ("room", room)):
        for route, value in (limits or {}).items():
            settings[f"{kind} {check_route(route)}"] = _count(f"{kind} of {route}", value)
    return settings


async def apply_settings(commands: Commands, settings: Mapping[str, Arg]) -> None:
    """Send them, 63 at a time behind the mode. The same again does no harm, and gives more turns
    where a raised limit frees more than one call may give."""
    first = {name: value for name, value in settings.items() if name == "mode"}
    rest = [item for item in settings.items() if item[0] != "mode"]
    for start in range(0, len(rest), _BATCH):
        some = {**first, **dict(rest[start : start + _BATCH])}
        more = True
        while more:
            _, more = await commands.configure(some)


def _count(name: str, value: int) -> int:
    if type(value) is not int or value < 0:
        raise ConfigError(f"{name} {shorten(value)}: expected an integer, 0 for no limit")
    return value


def _step(value: float | str) -> Arg:
    if value == "strict":
        return "strict"
    try:
        if isinstance(value, str | bool) or not 0 <= value <= _LONGEST_STEP_S:
            raise ValueError
        return round(value * 1000)
    except (TypeError, ValueError):
        raise ConfigError(
            f"level_step {shorten(value)}: expected seconds, 0 for FIFO, or 'strict'"
        ) from None
