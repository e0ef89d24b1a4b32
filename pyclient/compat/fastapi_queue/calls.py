"""Calls the functions of a node: each as what it is, found by looking and not by its name."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pyclient import codec

from .waiting import MARK, said

Function = Callable[..., Any]
_TEXT_CHARS = 100_000  # a longer answer could be too large for the queue


def is_async(function: Function) -> bool:
    """Whether calling it gives a coroutine; looks through partials and into objects."""
    while isinstance(function, functools.partial):
        function = function.func
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind matters
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


class Caller:
    """Runs functions as `(redis, mysql, **form)`: those that would block, in a thread each.

    What comes of a call is wrapped for the manager, exceptions and what can't be carried included,
    so that nobody waits for a time-out to learn of them.
    """

    def __init__(self, threads: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="peak-node")

    async def call(
        self, function: Function | None, redis: Any, mysql: Any, form: Any
    ) -> dict[str, list[Any]]:
        """The wrapped result or error."""
        try:
            if function is None:
                raise LookupError("no function is registered for this route on this node")
            if not isinstance(form, dict):
                raise TypeError(f"form_data is {type(form).__name__}, expected a dict")
            result = await self._result(functools.partial(function, redis, mysql, **form))
            codec.encode(result, what="the result")
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the node stops, or the task was cancelled: not of the function's making
            return {MARK: [False, _carried(said(error))]}
        return {MARK: [True, result]}

    async def _result(self, bound: functools.partial[Any]) -> Any:
        if is_async(bound):
            return await bound()
        run = functools.partial(contextvars.copy_context().run, _no_stop_iteration, bound)
        result = await asyncio.get_running_loop().run_in_executor(self._executor, run)
        # A plain wrapper around an async function.
        return await result if inspect.isawaitable(result) else result

    def close(self) -> None:
        """Start no more threads; what runs goes on."""
        self._executor.shutdown(wait=False)


def _no_stop_iteration(bound: Function) -> Any:
    try:
        return bound()
    except StopIteration as error:  # can't be raised into a future
        raise RuntimeError(f"StopIteration: {error}") from error


def _carried(text: str) -> str:
    """Text that can travel, whatever an exception says of itself."""
    return text[:_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()
