"""`python -m tests.faults.browser`: clients of the gateway, as a load.

Kinds: `get`; `post`, which may have acted and so is never repeated; `leave`, a client that goes
before the answer. One connection a request: nothing but the queue ties requests together.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from typing import Any

from .history import Recorder
from .load import Load, Plan, Request
from .processes import end_with_conductor

_WORDS = {
    "state-lost": "state-lost",
    "lost": "lost",
    "expired": "expired",
    "cancelled": "cancelled",
}
_REFUSED = ("full", "late", "closed", "limited")


class Browser:
    """Requests over HTTP/1.1."""

    def __init__(self, ports: list[int], plan: Plan, record: Recorder) -> None:
        self._ports = ports
        self._plan = plan
        self._record = record
        self._random = random.Random(plan.seed + 1)

    async def send(self, request: Request) -> dict[str, Any]:
        """The fields of its end."""
        after = self._random.random() * request.ms / 500 if request.kind == "leave" else None
        try:
            async with asyncio.timeout(after):
                return _read(await self._get(request))
        except TimeoutError:
            self._record("leave", n=request.n)
            return {"word": "cancelled"}
        except (OSError, asyncio.IncompleteReadError) as error:
            return {"word": "unavailable", "unknown": True, "code": type(error).__name__}

    async def _get(self, request: Request) -> tuple[int, bytes]:
        port = self._random.choice(self._ports)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            size = self._plan.pad
            target = f"/l{request.level}/{request.n}?ms={request.ms}&size={size}"
            post = request.kind == "post"
            head = f"{'POST' if post else 'GET'} {target} HTTP/1.1\r\nHost: t\r\n"
            head += "Content-Length: 4\r\n" if post else ""
            writer.write(f"{head}Connection: close\r\n\r\n{'body' if post else ''}".encode())
            top = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", top)
            body = await reader.readexactly(int(length[1]) if length else 0)
            return int(top.split(b" ", 2)[1]), body
        finally:
            writer.close()


def _read(answer: tuple[int, bytes]) -> dict[str, Any]:
    status, body = answer
    if status == 200:
        return {"word": "done", "got": body.rstrip(b".").decode(), "status": status}
    code = str(json.loads(body).get("code", ""))
    word = "refused" if code in _REFUSED else _WORDS.get(code, "unavailable")
    return {"word": word, "status": status, "code": code, "unknown": word == "unavailable"}


async def main() -> None:
    """Run the load."""
    record, plan = Recorder.of_environment(), Plan.of_environment()
    ports = [int(port) for port in os.environ["FAULTS_PORTS"].split(",")]
    await Load(plan, record, Browser(ports, plan, record).send).run()


if __name__ == "__main__":
    end_with_conductor()
    asyncio.run(main())
