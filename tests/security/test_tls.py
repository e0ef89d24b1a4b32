"""TLS to Redis on the machine's own server: the right certificate is taken, every wrong one is
refused with words that say what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from pyclient import ConfigError, PeakError, Queue, Unavailable
from pyclient.connection import Connection
from tests.cli.support import run
from tests.security.certificates import Certificates
from tests.security.test_roles import a_worker
from tests.security.users import PASSWORD, Users, users_of
from tests.servers import Server, free_ports, redis_server
from tests.worker.rig import serving

pytestmark = pytest.mark.needs_redis
HOST = "DNS:localhost,IP:127.0.0.1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    certificates = Certificates(tmp_path_factory.mktemp("tls"))
    certificates.signed("good", host=HOST)
    certificates.signed("elsewhere", host="DNS:redis.example")
    certificates.signed("expired", host=HOST, days=-1)
    certificates.authority("other")
    certificates.signed("foreign", by="other", host=HOST)
    certificates.signed("client")
    certificates.signed("stranger", by="other")
    return certificates


@pytest.fixture(scope="module")
def secured(made: Certificates) -> Iterator[Server]:
    port = free_ports(1)[0]
    settings: dict[str, Any] = {
        "tls-port": port,
        "tls-cert-file": made.path("good.crt"),
        "tls-key-file": made.path("good.key"),
        "tls-ca-cert-file": made.path("ca.crt"),
        "tls-auth-clients": "yes",
    }
    with redis_server(**settings) as server:
        yield server


@pytest.fixture
def address(secured: Server, made: Certificates) -> Iterator[str]:
    """Of the TLS port, with a client's certificate; the server shows the good one again later."""
    client = secured.client()
    client.flushall()
    names = {"ssl_ca_certs": "ca.crt", "ssl_certfile": "client.crt", "ssl_keyfile": "client.key"}
    options = "&".join(f"{name}={made.path(file)}" for name, file in names.items())
    yield f"rediss://127.0.0.1:{secured.settings['tls-port']}?{options}"
    shows(secured, made, "good")


def shows(server: Server, made: Certificates, name: str) -> None:
    """From now on the server has this certificate."""
    server.client().config_set(
        "tls-cert-file", made.path(f"{name}.crt"), "tls-key-file", made.path(f"{name}.key")
    )


async def refused(address: str) -> PeakError:
    """The error of an attempt to connect."""
    conn = Connection(address)
    with pytest.raises(PeakError) as caught:
        await conn.open()
    await conn.aclose()
    return caught.value


async def test_the_right_certificates_are_taken(address: str) -> None:
    conn = Connection(address)
    await conn.open()
    assert await conn.command("PING") in (b"PONG", "PONG")
    await conn.aclose()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("foreign", "unable to get local issuer|self-signed"),
        ("elsewhere", "IP address mismatch"),
        ("expired", "expired"),
    ],
)
async def test_a_wrong_certificate_is_refused_and_named(
    address: str, secured: Server, made: Certificates, name: str, says: str
) -> None:
    shows(secured, made, name)
    error = await refused(address)
    assert isinstance(error, ConfigError)
    assert "is not trusted" in str(error)
    assert any(words in str(error) for words in says.split("|")), error
    done = await asyncio.to_thread(run, "doctor", "--url", address)
    assert done.returncode == 1
    assert "is not trusted" in done.stdout


@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_a_client_without_the_right_certificate_is_told_so(
    address: str, made: Certificates, who: str
) -> None:
    plain = f"{address.partition('?')[0]}?ssl_ca_certs={made.path('ca.crt')}"
    if who == "stranger":
        plain += (
            f"&ssl_certfile={made.path('stranger.crt')}&ssl_keyfile={made.path('stranger.key')}"
        )
    error = await refused(plain)
    assert "certificate" in str(error), error
    assert "ssl_certfile" in str(error), error


async def test_a_plain_address_on_a_port_with_tls_is_told_so(address: str) -> None:
    error = await refused(address.partition("?")[0].replace("rediss://", "redis://"))
    assert isinstance(error, Unavailable)
    assert "rediss://" in str(error), error


async def test_tls_on_a_plain_port_is_told_so(address: str, made: Certificates) -> None:
    with redis_server(tcp=True) as plain:
        error = await refused(f"rediss://127.0.0.1:{plain.port}?ssl_ca_certs={made.path('ca.crt')}")
    assert "redis://" in str(error), error


async def test_a_certificate_that_changes_is_noticed_at_the_next_connect(
    address: str, secured: Server, made: Certificates
) -> None:
    conn = Connection(address, patience=0.2)
    await conn.open()
    shows(secured, made, "expired")
    secured.client().execute_command("CLIENT", "KILL", "TYPE", "normal")
    with pytest.raises(Unavailable, match="is not trusted"):
        await _until_it_fails(conn)
    shows(secured, made, "good")
    assert await conn.command("PING", timeout=5) in (b"PONG", "PONG")
    await conn.aclose()


async def _until_it_fails(conn: Connection) -> None:
    for _ in range(20):
        try:
            await conn.command("PING", timeout=1)
        except Unavailable as error:
            if error.code == "CONFIG":
                raise
        await asyncio.sleep(0.05)


async def test_the_main_path_by_tls_under_the_users_of_the_roles(
    address: str, secured: Server, queue_name: str
) -> None:
    with users_of(secured) as users:
        safe = _Safe(users, address)
        async with (
            Queue.from_url(safe.url("gateway"), name=queue_name) as queue,
            serving(a_worker(safe, queue_name)),
        ):
            assert await queue.call("echo", "x" * 100_000, timeout=10) == "x" * 100_000
        done = await asyncio.to_thread(run, "scripts", "load", "--url", safe.url("loader"))
        assert done.returncode == 0
        assert users.denied() == []


class _Safe(Users):
    """The same users by TLS."""

    def __init__(self, users: Users, address: str) -> None:
        super().__init__(users.server)
        self._address = address

    def url(self, role: str) -> str:
        return self._address.replace("://", f"://peak-{role}:{PASSWORD}@", 1)
