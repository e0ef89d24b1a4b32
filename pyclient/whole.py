"""Operations on a queue as a whole: the same on every shard, or split over them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from .commands import Arg
from .engine import Engine
from .live import apply_settings
from .shards import is_routed, merged, note_wholes, split_settings


async def configure_all(engine: Engine, mode: str, settings: Mapping[str, Arg]) -> None:
    """Settings as of `live.settings_of`. Raises ConfigError where a limit can't be split."""
    first: dict[str, Arg] = {"mode": "hold"} if mode == "hold" else {}
    names = engine.names(mode)
    if len(names) == 1:
        await apply_settings(await engine.commands(mode), {**first, **settings})
        return
    routed = {name: value for name, value in settings.items() if is_routed(name)}
    rest = {name: value for name, value in settings.items() if not is_routed(name)}
    parts = split_settings(rest, len(names))
    if routed:
        keys = engine.keys[names[0]]
        limits = await note_wholes(await engine.connection(), keys, routed, len(names))
        engine.spreads[mode].forget()
        parts = [{**part, **limit} for part, limit in zip(parts, limits, strict=True)]
    for name, part in zip(names, parts, strict=True):
        await apply_settings(await engine.commands(name), {**first, **part})


async def sweep_all(engine: Engine, mode: str) -> None:
    """One sweep of each shard; what is left over is for the next."""
    for name in engine.names(mode):
        await (await engine.commands(name)).sweep()


async def gauge_all(engine: Engine, mode: str) -> dict[str, Any]:
    """One gauge; each shard's part of it is a snapshot of its own."""
    names = engine.names(mode)
    if len(names) == 1:
        return await (await engine.commands(mode)).gauge()
    gauges = [(await engine.commands(name)).gauge() for name in names]
    return merged(await asyncio.gather(*gauges))
