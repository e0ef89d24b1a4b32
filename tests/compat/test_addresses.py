"""What is taken from a client (A40), and what can be imported where (A41)."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.credentials import UsernamePasswordCredentialProvider
from redis.sentinel import Sentinel

from pyclient.connection import parse_address
from pyclient.errors import ConfigError
from tests.servers import Server

from .rig import ROOT, site
from .seed import address_of, route_of


@pytest.mark.parametrize("kind", [redis.Redis, redis.asyncio.Redis])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "redis://localhost:6379"),
        ({"host": "db", "port": 7, "db": 3}, "redis://db:7?db=3"),
        ({"host": "::1"}, "redis://[::1]:6379"),
        ({"password": "p:/@ ?"}, "redis://:p%3A%2F%40%20%3F@localhost:6379"),
        ({"username": "u", "password": "p"}, "redis://u:p@localhost:6379"),
        ({"unix_socket_path": "/run/a b.sock", "db": 1}, "unix:///run/a%20b.sock?db=1"),
        ({"decode_responses": True}, "redis://localhost:6379"),
        ({"ssl": True}, "rediss://localhost:6379?ssl_cert_reqs=required&ssl_check_hostname=True"),
        (
            {"ssl": True, "ssl_cert_reqs": ssl.CERT_NONE, "ssl_check_hostname": False},
            "rediss://localhost:6379?ssl_cert_reqs=none&ssl_check_hostname=False",
        ),
        (
            {"credential_provider": UsernamePasswordCredentialProvider("u", "é")},
            "redis://u:%C3%A9@localhost:6379",
        ),
    ],
)
def test_a40_address_credentials_and_tls_are_those_of_the_client(
    kind: Any, given: dict[str, Any], wanted: str
) -> None:
    address = address_of(kind(**given))
    assert address == wanted
    assert parse_address(address).kind == "single"


@pytest.mark.parametrize("kind", [Sentinel, AsyncSentinel])
def test_a40_a_client_by_sentinel(kind: Any) -> None:
    watched = kind([("s1", 1), ("s2", 2)], sentinel_kwargs={"password": "sp"})
    client = watched.master_for("main", password="p", db=2)
    address = address_of(client)
    assert address == "redis+sentinel://:p@s1:1,s2:2/main?db=2&sentinel_password=sp"
    assert parse_address(address).service == "main"


def test_a40_a_client_of_a_cluster() -> None:
    nodes = [redis.asyncio.cluster.ClusterNode("c1", 1), redis.asyncio.cluster.ClusterNode("c2", 2)]
    address = address_of(redis.asyncio.RedisCluster(startup_nodes=nodes, password="p"))
    assert address == "redis+cluster://:p@c1:1,c2:2"


def test_text_is_an_address_and_anything_else_is_refused() -> None:
    assert address_of("embedded://") == "embedded://"
    with pytest.raises(ConfigError, match="redis is dict"):
        address_of({})


async def test_a40_clients_that_decode_or_block_do_as_well(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/echo": "echo", "/sleepy": "sleepy"}, client={"decode": True})
        await at.ready("/echo")
        decoding = redis.asyncio.Redis.from_url(server.url, decode_responses=True)
        value = b"\x00\xff"
        for client in (decoding, at.client, at.raw, server.url):
            assert await at.call("/echo", {"value": value}, client=client) == (True, value)
        assert await at.call("/sleepy", {"name": "decoded"}) == (True, "decoded")
        await decoding.aclose()


async def test_a40_a_node_may_have_a_client_that_blocks(server: Server, tmp_path: Path) -> None:
    async with site(server, tmp_path) as at:
        at.node({"/sleepy": "sleepy"}, client={"sync_client": True})
        await at.ready("/sleepy")
        assert await at.call("/sleepy", {"name": "sync"}) == (True, "sync")
        assert at.noted() == ["began sync", "ended sync"]


def test_a41_importing_it_names_the_new_way_and_pulls_in_no_framework() -> None:
    code = (
        "import sys, warnings\n"
        "with warnings.catch_warnings(record=True) as heard:\n"
        "    warnings.simplefilter('always')\n"
        "    import pyclient.compat.fastapi_queue\n"
        "print(*(one.category.__name__ for one in heard))\n"
        "print([m for m in ('fastapi', 'starlette', 'redis', 'worker_app') if m in sys.modules])\n"
        "print(heard[0].message)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    warning, modules, text = said.stdout.splitlines()
    assert (warning, modules) == ("DeprecationWarning", "[]")
    assert "worker_app.Worker" in text


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_a41_every_supported_python_compiles_it(version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True).returncode:
        pytest.skip(f"no python{version} here")
    code = (
        "import pathlib, sys\n"
        "for path in pathlib.Path('pyclient/compat').rglob('*.py'):\n"
        "    compile(path.read_text(), path, 'exec')\n"
        "print(sys.version_info[:2])\n"
    )
    said = subprocess.run(
        [python, "-I", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr


def test_routes_are_readable_short_and_never_the_same() -> None:
    assert route_of("/a/b-c.d_e~f+g") == "/a/b-c.d_e~f+g"
    assert route_of("/a:b ü") == "/a%3Ab%20%C3%BC"
    paths = ["", "@", "%40", "/", "//", "/%2F", "/\udcff", "x" * 64, "x" * 65, "y" * 5000]
    routes = [route_of(path) for path in paths]
    assert len(set(routes)) == len(paths)
    assert all(1 <= len(route) <= 64 for route in routes)
