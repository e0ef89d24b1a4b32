"""Getting in: passwords, rights, TLS, and servers that are refused."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pyclient.connection import Connection
from pyclient.errors import ConfigError, Unavailable
from tests.pyclient.connection_rig import ECHO, connected, unavailable
from tests.servers import Server, free_ports, redis_server, valkey


async def test_no_connection_left_at_the_server(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        client.config_set("maxclients", 1)
        with unavailable("MAXCLIENTS"):
            await connection.command("GET", "k")
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        client.config_set("maxclients", 10000)
        assert await connection.command("GET", "k") is None


@pytest.mark.parametrize("option", ["", "protocol=3"], ids=["resp2", "resp3"])
async def test_passwords(option: str) -> None:
    users = ["limited on >pw ~* +evalsha +script|load +ping"]
    with valkey(requirepass="s3cret", user=users) as server:
        path = server.url.removeprefix("unix://")
        async with connected(f"unix://:s3cret@{path}?{option}") as connection:
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        async with connected(f"unix://limited:pw@{path}?{option}") as connection:
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
            with unavailable("NOPERM"):
                await connection.command("GET", "k")
        for wrong in ("", ":n0pe@", "limited:n0pe@", "nobody:n0pe@"):
            with pytest.raises(ConfigError) as caught:
                await Connection(f"unix://{wrong}{path}?{option}").open()
            assert "n0pe" not in str(caught.value)
            assert "address" in str(caught.value)


async def test_a_password_that_changes_later_is_not_fatal(server: Server) -> None:
    client = server.client()
    async with connected(server.url) as connection:
        client.config_set("requirepass", "new")
        try:
            client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.01)
            with unavailable("CONFIG"):
                await connection.call(ECHO, ["k"], ["x"])
        finally:
            client.config_set("requirepass", "")
        assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]


async def test_a_server_that_evicts_keys_is_refused(server: Server) -> None:
    server.client().config_set("maxmemory-policy", "volatile-lru")
    with pytest.raises(ConfigError, match="CONFIG SET maxmemory-policy noeviction"):
        await Connection(server.url).open()


async def test_a_database_that_does_not_exist_is_refused(server: Server) -> None:
    with pytest.raises(ConfigError, match="no database 99"):
        await Connection(f"{server.url}?db=99").open()


async def test_the_name_of_the_client_is_seen(server: Server) -> None:
    connection = Connection(server.url, client_name="peak-gateway")
    await connection.open()
    names = [row["name"] for row in server.client().client_list()]
    assert "peak-gateway" in names
    await connection.aclose()


async def test_nobody_there() -> None:
    begun = time.monotonic()
    for url in ("redis://127.0.0.1:1", "unix:///nowhere/s", "redis://no.such.host.invalid"):
        with pytest.raises(Unavailable, match="no connection to Redis at"):
            await Connection(url, patience=0.1).open()
    assert time.monotonic() - begun < 5


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a key and a certificate that is its own authority."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=redis"
    command += " -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.needs_redis
async def test_tls_checks_who_is_there(certificate: Path) -> None:
    cert, key = str(certificate / "cert.pem"), str(certificate / "key.pem")
    port = free_ports(1)[0]
    settings: dict[str, Any] = {
        "tls-cert-file": cert,
        "tls-key-file": key,
        "tls-ca-cert-file": cert,
    }
    with redis_server(**settings, tls_port=port, tls_auth_clients="yes", requirepass="pw"):
        mine = f"ssl_certfile={cert}&ssl_keyfile={key}"
        trusted = f"ssl_ca_certs={cert}&{mine}"
        async with connected(f"rediss://:pw@localhost:{port}?{trusted}") as connection:
            assert await connection.call(ECHO, ["k"], ["x" * 300_000]) == [b"OK", b"x" * 300_000]
        lax = f"rediss://:pw@127.0.0.1:{port}?ssl_check_hostname=false&{trusted}"
        async with connected(lax) as connection:
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        async with connected(
            f"rediss://:pw@127.0.0.1:{port}?ssl_cert_reqs=none&{mine}"
        ) as connection:
            assert await connection.call(ECHO, ["k"], ["x"]) == [b"OK", b"x"]
        for wrong in (f"127.0.0.1:{port}?{trusted}", f"localhost:{port}?{mine}"):
            with pytest.raises(ConfigError, match="certificate of Redis"):
                await Connection(f"rediss://:pw@{wrong}").open()
        with pytest.raises(Unavailable):
            await Connection(f"redis://:pw@localhost:{port}", patience=0.1).open()
