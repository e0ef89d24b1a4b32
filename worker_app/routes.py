"""Routes: a name, the function that handles it, and how that function is to be run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from pyclient.errors import ConfigError
from pyclient.keys import check_route

from .context import Context

Handler: TypeAlias = Callable[..., Any]
Kind: TypeAlias = Literal["async", "thread", "process"]

_MOST_LIMIT = 1_000_000
_LONGEST_S = 2_592_000.0


@dataclass(frozen=True, slots=True)
class Route:
    """One handler. `raw`: it takes and gives bytes, which travel without being packed."""

    name: str
    handler: Handler
    kind: Kind
    with_context: bool
    attempts: int
    timeout: float
    retry_on: tuple[type[BaseException], ...]
    raw: bool
    concurrency: int | None = None
    room: int | None = None

    @property
    def target(self) -> str:
        """Where another process finds the handler: `module:qualname`."""
        function = cast(Any, self.handler)
        return f"{function.__module__}:{function.__qualname__}"


def make_route(
    name: str,
    handler: Handler,
    *,
    kind: str | None,
    concurrency: int | None,
    room: int | None,
    attempts: int,
    timeout: float,
    retry_on: tuple[type[BaseException], ...],
    raw: bool,
) -> Route:
    """Check everything that can be known before the first task. Raises ConfigError."""
    check_route(name)
    if kind not in (None, "async", "thread", "process"):
        raise ConfigError(f"route {name}: kind is {kind!r}, expected async, thread or process")
    _check_numbers(name, attempts, timeout, {"concurrency": concurrency, "room": room})
    found = kind_of(handler, name)
    if kind == "process":
        _check_importable(name, handler, found)
    elif kind is not None and kind != found:
        raise ConfigError(
            f"route {name}: kind={kind!r}, but its handler is "
            f"{'an async' if found == 'async' else 'a plain'} function"
        )
    return Route(
        name=name,
        handler=handler,
        kind=cast(Kind, kind or found),
        with_context=takes_context(handler, name),
        attempts=attempts,
        timeout=timeout,
        retry_on=tuple(retry_on),
        raw=raw,
        concurrency=concurrency,
        room=room,
    )


def _check_numbers(
    name: str, attempts: int, timeout: float, limits: Mapping[str, int | None]
) -> None:
    if not 1 <= attempts <= 255:
        raise ConfigError(f"route {name}: attempts is {attempts!r}, expected 1..255")
    if not 0 < timeout <= _LONGEST_S:
        raise ConfigError(f"route {name}: timeout is {timeout!r}, expected seconds > 0, <= 30 days")
    for what, limit in limits.items():
        if limit is not None and not 0 <= limit <= _MOST_LIMIT:
            raise ConfigError(
                f"route {name}: {what} is {limit!r}, expected 0..{_MOST_LIMIT} (0: no limit)"
            )


def kind_of(handler: Handler, name: str) -> Kind:
    """`async` for what is awaited on the loop, `thread` for what would block it."""
    inner: Any = handler
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not callable(inner):
        raise ConfigError(f"route {name}: its handler is {handler!r}, expected a function")
    candidates = (inner, type(inner).__call__)
    if any(
        inspect.isasyncgenfunction(one) or inspect.isgeneratorfunction(one) for one in candidates
    ):
        raise ConfigError(f"route {name}: a handler returns its result, it can't yield")
    return "async" if any(inspect.iscoroutinefunction(one) for one in candidates) else "thread"


def takes_context(handler: Handler, name: str) -> bool:
    """Whether to call with (payload, ctx) rather than (payload)."""
    try:
        parameters = list(inspect.signature(handler, eval_str=True).parameters.values())
    except NameError:
        parameters = list(inspect.signature(handler).parameters.values())
    except (ValueError, TypeError):
        return False  # a builtin that does not tell
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in positional if p.default is p.empty]
    starred = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if len(needed) > 2 or named or not (positional or starred):
        raise ConfigError(
            f"route {name}: a handler is called as (payload) or (payload, ctx), but it is "
            f"declared with {len(needed) + len(named)} arguments that must be given"
        )
    if len(needed) == 2:
        return True
    return len(positional) > 1 and positional[1].annotation is Context


def _check_importable(name: str, handler: Handler, found: Kind) -> None:
    """A process of the pool gets the handler by its name, never by a copy."""
    qualname = getattr(handler, "__qualname__", "")
    module = getattr(handler, "__module__", None)
    if found == "async" or not module or not qualname or "<" in qualname:
        raise ConfigError(
            f"route {name}: kind='process' takes a plain function at the top level of a module, "
            f"got {handler!r}"
        )
    if module == "__main__":
        raise ConfigError(
            f"route {name}: kind='process' can't import a handler from the program itself: put "
            "it into a module and run `python -m worker_app module:worker`"
        )
