"""An operator and a queue with shards: PEAK_SHARDS says that it has them."""

from __future__ import annotations

import pytest

from tests.cli.support import run, run_json
from tests.servers import Server


@pytest.fixture
def env(server: Server) -> dict[str, str]:
    return {"PEAK_REDIS_URL": server.url, "PEAK_QUEUE": "orders", "PEAK_SHARDS": "3"}


def test_limits_are_split_and_shown_as_a_whole(env: dict[str, str]) -> None:
    run_json("queue", "set", "orders", "limit=10", "concurrency:mail=2", "--json", env=env)
    assert run_json("queue", "show", "orders", "--json", env=env)["limit"] == 10
    parts = [run_json("queue", "show", f"orders/{n}", "--json", env=env) for n in range(3)]
    assert sorted(part["limit"] for part in parts) == [3, 3, 4]
    done = run("queue", "set", "limit=2", env=env)
    assert (done.returncode, "at least the number of shards (3)" in done.stderr) == (1, True)


def test_states_are_those_of_all_shards_or_of_one(env: dict[str, str]) -> None:
    run("queue", "close", "orders", "--reason", "moving", env=env)
    for name in ("orders", "orders/0", "orders/2"):
        assert run_json("queue", "show", name, "--json", env=env)["state"] == "closed"
    run("queue", "resume", "orders/1", env=env)
    assert run_json("queue", "show", "orders", "--json", env=env)["state"] == "mixed"


def test_the_doctor_looks_at_each_shard(env: dict[str, str]) -> None:
    run("queue", "set", "orders", "limit=10", env=env)
    found = run_json("doctor", "--json", env=env)["findings"]
    said = " ".join(finding["text"] for finding in found)
    assert all(f"'orders/{n}'" in said for n in range(3))
