"""A subscription where the server of its channel changes: Cluster and Sentinel."""

from __future__ import annotations

import pytest

from tests.pyclient.connection_rig import ECHO, connected
from tests.pyclient.test_connection_cluster import moving
from tests.pyclient.test_subscription import CHANNEL, Heard, listening, publish
from tests.servers import until
from tests.topologies import SERVICE, cluster, sentinel
from tests.worker.rig import eventually

pytestmark = [pytest.mark.faults, pytest.mark.once]
KEY = CHANNEL.decode()


async def test_a_slot_that_moves_takes_its_subscribers_along() -> None:
    with cluster(3) as nodes:
        async with connected(nodes.url) as connection:
            await connection.call(ECHO, [KEY], ["x"])  # learns the node
            async with listening(connection) as heard:
                assert publish(nodes.node_of(KEY), b"1") == [1]
                await eventually(lambda: heard.messages == [b"1"])
                with moving(nodes, KEY) as (source, target, finish):
                    assert publish(source, b"2") == [1]
                    finish()
                    await eventually(lambda: heard.changes == [True, False], timeout=5)
                    await connection.call(ECHO, [KEY], ["x"])  # MOVED
                    await eventually(lambda: heard.subscription.active, timeout=20)
                    assert publish(target, b"3") == [1]
                    await eventually(lambda: heard.messages == [b"1", b"2", b"3"])


@pytest.mark.full
async def test_after_a_failover_only_the_new_primary_is_heard() -> None:
    """What was demoted goes on telling what is published, to subscribers that nobody counts."""
    with sentinel(n=1, replicas=1) as servers:
        old = servers.primary
        async with connected(servers.url) as connection, listening(connection) as heard:
            assert publish(old, b"1") == [1]
            await eventually(lambda: heard.messages == [b"1"])
            watcher = servers.sentinels[0].client()
            until(lambda: watcher.execute_command("SENTINEL FAILOVER", SERVICE), timeout=20)
            until(lambda: servers.primary is not old, timeout=20, what="a switch")
            until(lambda: old.client().info("replication")["role"] == "slave", timeout=20)
            await eventually(lambda: len(heard.changes) >= 2, timeout=20)
            await eventually(lambda: _at(heard) == servers.primary.port, timeout=20)
            assert publish(servers.primary, b"2") == [1]
            await eventually(lambda: heard.messages[1:])
            assert heard.messages == [b"1", b"2"]


def _at(heard: Heard) -> int:
    """The port that is subscribed to."""
    subscription = heard.subscription
    link = subscription._link
    if not subscription.active or link is None or link._transport is None:
        return 0
    return int(link._transport.get_extra_info("peername")[1])
