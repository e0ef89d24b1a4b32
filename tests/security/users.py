"""Users of Redis for the roles, and bare calls of the scripts, on servers of the tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from pyclient.cli.acl import ROLES, rules
from pyclient.commands import Commands, scripts
from pyclient.connection import Connection
from pyclient.keys import Keys
from tests.servers import Server

PASSWORD = "correct%20horse"


@dataclass(frozen=True)
class Users:
    """One user for each role; `url("worker")` is the address that it connects with."""

    server: Server

    def url(self, role: str) -> str:
        """Address and login of a role."""
        return self.server.address.replace("://", f"://peak-{role}:{PASSWORD}@", 1)

    def denied(self) -> list[str]:
        """What any of them asked for and was refused."""
        entries = self.server.client().acl_log()
        return [f"{entry['username']}: {entry['object']}" for entry in entries]


@contextmanager
def users_of(server: Server) -> Iterator[Users]:
    """Make them, and delete them at the end."""
    client = server.client()
    client.execute_command("ACL", "LOG", "RESET")
    for role in ROLES:
        login = f">{PASSWORD.replace('%20', ' ')}"
        client.execute_command("ACL", "SETUSER", f"peak-{role}", *rules(role, "peak"), login)
    try:
        yield Users(server)
    finally:
        for role in ROLES:
            client.execute_command("ACL", "DELUSER", f"peak-{role}")


@asynccontextmanager
async def raw_commands(url: str, queue: str) -> AsyncIterator[Commands]:
    """The scripts of a queue, called by hand."""
    conn = Connection(url)
    await conn.open()
    try:
        yield Commands(conn, scripts(), Keys("peak", queue))
    finally:
        await conn.aclose()
