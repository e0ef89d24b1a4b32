"""The gateway's side: `DistributedTaskApplyManager`."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from pyclient import codec
from pyclient.errors import BadPayload, PeakError, Refused, ScriptError, Unavailable
from pyclient.keys import shorten
from pyclient.placing import Place

from .address import address_of
from .client import Departure, request_of
from .gateway import Gateway, gateway_of
from .names import route_of
from .waiting import UNCONFIRMED, Answer, Submission, said

_addresses: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


class DistributedTaskApplyManager:
    """Room for one request, from `async with` on, and the tasks that use it.

        async with DistributedTaskApplyManager(redis, request.url.path) as manager:
            if not manager.success():
                return JSONResponse("Service Temporarily Unavailable", 503)
            done, result = await manager.rclt(form_data={"x": 1}, task_level=0)

    Time-outs are seconds. The room is kept until the work has ended, whoever left; a task that
    still waits when its handler (or its HTTP client) goes is taken out and never runs. `error`
    says why `success()` is False.
    """

    def __init__(
        self,
        redis: Any,
        request_path: str,
        confirm_timeout: float = 5,
        process_timeout: float = 10,
    ) -> None:
        self.redis = redis
        self.request_path = request_path
        self.error: PeakError | None = None
        self._confirm_s = _seconds("confirm_timeout", confirm_timeout)
        self._process_s = _seconds("process_timeout", process_timeout)
        self._route = route_of(request_path)
        self._gateway: Gateway | None = None
        self._places: list[Place] = []
        self._departure = Departure(request_of(sys._getframe(1)))

    async def __aenter__(self) -> DistributedTaskApplyManager:
        self._gateway = gateway_of(_address(self.redis))
        try:
            self._places.append(await self._gateway.enter(self._route))
        except (Refused, Unavailable, ScriptError) as error:
            self.error = error
            self._gateway.note(error)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        places, self._places = self._places, []
        try:
            await self._departure.end()
        finally:
            assert self._gateway is not None
            await self._gateway.leave(places)
        return False

    def success(self) -> bool:
        """Whether there is room: if not, answer 503."""
        return bool(self._places)

    async def rclt(self, form_data: Mapping[str, Any] | None = None, task_level: int = 0) -> Answer:
        """Have the route's function called with `form_data`; may be called several times.

        Returns (True, result); (False, -1) if no node took it within `confirm_timeout`: it never
        runs; (False, -2) if it has not ended `process_timeout` after a node took it; or
        (False, text) of the exception that it raised. Levels 0..9 filter nodes
        (`allowed_type_limit`); others raise ValueError.
        """
        if type(task_level) is not int or not 0 <= task_level <= 9:
            raise ValueError(f"task_level {shorten(task_level)}: expected an integer from 0 to 9")
        if self._gateway is None or not self._places:
            return UNCONFIRMED
        try:
            body = codec.encode(dict(form_data or {}), what="form_data")
        except (BadPayload, TypeError, ValueError) as error:
            return False, said(error)
        try:
            line = await self._gateway.soon(self._gateway.line())
            place = await self._free_place(self._gateway)
        except (Refused, Unavailable, ScriptError) as error:
            self._gateway.note(error)
            return UNCONFIRMED
        submission = Submission(
            self._gateway,
            line,
            place,
            confirm_s=self._confirm_s,
            process_s=self._process_s,
            gone=self._departure.begin(),
        )
        return await submission.run(body, task_level)

    redis_channel_listening_result = rclt

    async def _free_place(self, gateway: Gateway) -> Place:
        """One without a task; the work of an earlier call may go on in its own."""
        for place in self._places:
            if place.busy is None:
                return place
        self._places.append(await gateway.enter(self._route))
        return self._places[-1]


def _address(client: Any) -> str:
    """Once a client, since a manager is made for each request. Raises ConfigError."""
    try:
        if client not in _addresses:
            _addresses[client] = address_of(client)
        return _addresses[client]
    except TypeError:  # no weak reference to a str
        return address_of(client)


def _seconds(name: str, value: float) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{name} {shorten(value)}: expected seconds, 0 or more")
    return seconds
