"""The gateway's own token buckets: `RateLimiter`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from pyclient.limiter import LocalRateLimiter

from .calls import is_async

F = TypeVar("F", bound=Callable[..., Any])

BODY = "Service Temporarily Unavailable"
_SLOWEST = 0.000001


class RateLimiter:
    """Lets `bucket` calls of a handler through at once, and `limits_s` more a second.

        @app.get("/")
        @RateLimiter(bucket=5000, limits_s=1000)
        async def root(request: Request): ...

    Beyond that the answer is 503. Buckets are in this process, one a handler, and one for all
    handlers of all limiters: 5000, 1000 a second, see `configure_global`. They fill by
    themselves, whenever a handler was decorated.
    """

    _global: ClassVar[LocalRateLimiter | None] = LocalRateLimiter(1000, 5000)

    def __init__(self, bucket: int | None = None, limits_s: float | None = None) -> None:
        self._given = (bucket, limits_s)
        _limiter(bucket, limits_s)  # refuse what makes no bucket here and not at the first call

    @classmethod
    def configure_global(cls, *, bucket: int | None, limits_s: float | None) -> None:
        """Change the bucket that all handlers share; `None, None` switches it off."""
        cls._global = _limiter(bucket, limits_s)

    def porter_run_serve(self) -> None:
        """Nothing has to be started; kept for programs that call it."""

    def __call__(self, handler: F) -> F:
        """The handler behind a bucket of its own; its signature stays as it is."""
        own = _limiter(*self._given)

        if is_async(handler):

            @functools.wraps(handler)
            async def limited(*args: Any, **kwargs: Any) -> Any:
                return await handler(*args, **kwargs) if self._admits(own) else _refusal()

        else:

            @functools.wraps(handler)
            def limited(*args: Any, **kwargs: Any) -> Any:
                return handler(*args, **kwargs) if self._admits(own) else _refusal()

        _keep_signature(limited, handler)
        return limited  # type: ignore[return-value]

    def _admits(self, own: LocalRateLimiter | None) -> bool:
        """Take one token from both buckets, or none from either."""
        if own is not None and not own.take().allowed:
            return False
        shared = RateLimiter._global
        if shared is None or shared.take().allowed:
            return True
        if own is not None:
            own.take(cost=-1)
        return False


def _limiter(bucket: int | None, limits_s: float | None) -> LocalRateLimiter | None:
    if bucket is None and limits_s is None:
        return None
    if bucket is None or limits_s is None:
        raise ValueError("a bucket has both a size (bucket) and a rate (limits_s), or neither")
    return LocalRateLimiter(max(float(limits_s), _SLOWEST), int(bucket))


def _refusal() -> Any:
    from pyclient.fastapi import json_answer

    return json_answer(503, BODY)


def _keep_signature(wrapper: Any, handler: Any) -> None:
    """FastAPI looks names of annotations up where the wrapper is: give it what they mean."""
    try:
        wrapper.__signature__ = inspect.signature(handler, eval_str=True)
    except (NameError, TypeError, ValueError):
        pass  # it finds the handler itself by __wrapped__
