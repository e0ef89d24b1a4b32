"""Users of Redis for the roles, on servers of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyclient.cli.acl import ROLES, rules
from tests.servers import Server

PASSWORD = "correct%20horse"


@dataclass(frozen=True, slots=True)
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
