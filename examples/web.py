"""A FastAPI program that has work done by workers: `uvicorn web:app --port 8001`.

A full queue is 503 with Retry-After at once, a client over its rate 429: never a pile-up.
"""

from __future__ import annotations

from typing import Annotated

import contract
from fastapi import Depends, FastAPI, Path

from pyclient import Queue, RateLimiter
from pyclient.fastapi import CurrentQueue, RateLimit, exception_handlers, lifespan

queue = Queue.from_url(contract.URL)
app = FastAPI(lifespan=lifespan(queue), exception_handlers=exception_handlers)
# Per client address, shared by all replicas.
limit = Depends(RateLimit(RateLimiter(queue, "web", rate=50, burst=100)))


@app.get("/fibonacci/{n}", dependencies=[limit])
async def fibonacci(n: Annotated[int, Path(ge=0, le=10_000)], line: CurrentQueue) -> str:
    """Wait in the line, then answer."""
    return await contract.fibonacci(line, n)


@app.get("/factors/{n}", dependencies=[limit])
async def factors(n: Annotated[int, Path(ge=1, le=10**15)], line: CurrentQueue) -> list[int]:
    """Less urgent than the other."""
    return await contract.factors(line, n)


@app.post("/factors/{n}", status_code=202)
async def submit(n: Annotated[int, Path(ge=1, le=10**15)], line: CurrentQueue) -> dict[str, str]:
    """Don't wait: the answer is kept for an hour."""
    ticket = await line.submit(contract.FACTORS, {"n": n}, level=7)
    return {"id": ticket.id}


@app.get("/tickets/{ticket_id}")
async def look(ticket_id: str, line: CurrentQueue) -> dict[str, object]:
    """Where it stands."""
    ticket = await line.attach(ticket_id)
    state = await ticket.state()
    if state == "done":
        return {"state": state, "result": await ticket.result(timeout=1)}
    return {"state": state, "before_it": await ticket.position()}
