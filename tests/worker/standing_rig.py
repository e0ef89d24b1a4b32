"""What the tests of standing claims share: what stands, and what was asked."""

from __future__ import annotations

from pyclient import Queue
from tests.servers import Server
from tests.worker.rig import eventually
from worker_app import Worker


def slots(worker: Worker) -> int:
    """How many a worker believes to stand."""
    session = worker.session
    return session.loop.standing.slots if session is not None else 0


async def stands(*workers: Worker) -> None:
    """Wait until all slots of these stand."""
    await eventually(lambda: all(slots(one) == one.concurrency for one in workers))


def channel_of(worker: Worker, queue: str) -> str:
    """Where a worker hears what it is given."""
    assert worker.session is not None
    return f"peak:{{{queue}}}:given:{worker.session._caller.id}"


def calls(server: Server) -> dict[str, int]:
    """Calls since the last reset: of clients, and `spublish` of scripts."""
    stats = server.client().info("commandstats")
    names = ("evalsha", "spublish", "blpop")
    return {name: stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in names}


async def once(queue: Queue, payload: bytes, route: str = "once") -> bytes:
    """Have a task done that has one attempt."""
    return await queue.exchange(route, payload, wait_ms=20_000, run_ms=20_000)


def standing(server: Server, queue: str) -> list[str]:
    """The callers whose claims stand, of those that listen."""
    names = server.client(protocol=2).execute_command("PUBSUB SHARDCHANNELS")
    callers = [name.decode().rpartition(":")[2] for name in names]
    return [caller for caller in callers if is_known_to_stand(server, queue, caller)]


def is_known_to_stand(server: Server, queue: str, caller: str) -> bool:
    """Whether its claim stands in Redis: it is named behind the fields of the clock then."""
    text = server.client(protocol=2).get(f"peak:{{{queue}}}:clock")
    return isinstance(text, bytes) and caller.encode() in text
