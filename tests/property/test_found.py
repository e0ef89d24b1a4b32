"""What the machine has found, as short as it gets: one test a finding, each explained call by call
by the model."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.servers import Server

from .actions import Kind
from .driver import scripts_with_test_clock
from .stories import Stories


@pytest.fixture
def queue(server: Server, request: pytest.FixtureRequest) -> Any:
    """A pull queue, nothing configured but the lease."""
    line = Stories(server.client(), scripts_with_test_clock())
    line.start(getattr(request, "param", "pull"), lease_ms=1000)
    line.attach("g0")
    yield line
    line.client.flushall()


def test_a_task_may_take_from_two_buckets(queue: Stories) -> None:
    buckets = [("all", 3, 1_000_000, 3), ("one", 1, 1_000_000, 2)]
    assert queue.admit("g0", [Kind(options="take=1:1,2:1")], buckets=buckets) == ["OK"]


def test_an_id_with_a_kept_result_is_known_to_every_profile(queue: Stories) -> None:
    queue.admit("g0", [Kind(keep_s=60)])
    queue.publish("w9", queue.claim("w9", 1))
    assert queue.admit("g0", [Kind()], ids=[f"t{1:021d}"]) == ["KNOWN"]


def test_an_id_is_known_as_long_as_its_value_is_kept_and_no_longer(queue: Stories) -> None:
    queue.admit("g0", [Kind(keep_s=61), Kind(keep_s=60)])
    queue.publish("w9", queue.claim("w9", 2))
    queue.tick(61_000)
    assert queue.admit("g0", [Kind()], ids=[f"t{1:021d}"]) == ["KNOWN"]
    queue.tick(1)
    queue.attach("g0")
    queue.model.ended_ids.clear()
    assert queue.admit("g0", [Kind()], ids=[f"t{1:021d}"]) == ["OK"]


def test_a_limit_that_comes_live_does_not_change_the_order_of_a_route(queue: Stories) -> None:
    queue.admit("g0", [Kind()])
    queue.configure(concurrency__r0=2)
    queue.admit("g0", [Kind()])
    queue.configure(concurrency__r0=1)
    assert queue.claim("w9", 4)[0][0] == f"t{1:021d}"


def test_a_dead_candidate_of_a_capped_route_takes_no_slot(queue: Stories) -> None:
    queue.configure(level_step_ms=0, concurrency__r1=1)
    late, behind, other = Kind(level=9, route="r1", wait_ms=1), Kind(route="r1"), Kind()
    queue.admit("g0", [late, behind, other])
    queue.sweep()
    queue.tick(5)
    assert [name for name, _ in queue.claim("w9", 2)] == [f"t{2:021d}", f"t{3:021d}"]


def test_a_watched_task_of_a_dead_owner_leaves_a_result(queue: Stories) -> None:
    queue.attach("g1")
    queue.admit("g1", [Kind()])
    queue.attach("g0", f"t{1:021d}")
    leases = queue.claim("w9", 1)
    queue.delete_inbox("g1")
    queue.publish("w9", leases)
    assert queue.client.exists(f"{queue.snap.prefix}result:t{1:021d}")


def test_a_caller_may_be_named_kept(queue: Stories) -> None:
    queue.attach("kept")
    queue.admit("kept", [Kind(keep_s=60)])
    queue.publish("w9", queue.claim("w9", 1))


@pytest.mark.parametrize("queue", ["hold"], indirect=True)
def test_free_slots_count_against_a_whole_batch(queue: Stories) -> None:
    queue.configure(limit=3, capacity=6, reserve="0,0,0,0,3,3,3,3,3,3")
    kinds = [Kind(level=0), Kind(level=4), Kind(level=0), Kind(level=9)]
    assert queue.admit("g0", kinds) == ["OK"] * 4


def test_a_place_can_be_given_back_at_a_full_server(queue: Stories) -> None:
    """`place` is of kind `grow`; DESIGN §4 names only admit, limit, configure and attach."""
    name = queue.new_id()
    assert queue.place("g0", "take", name, "r0") == "OK"
    queue.client.config_set("maxmemory", 1)
    try:
        assert queue.place("g0", "leave", name, "r0") == "OK"
    finally:
        queue.client.config_set("maxmemory", 0)


def test_the_gauge_names_routes_that_live(queue: Stories) -> None:
    """It names those that have finished something."""
    queue.admit("g0", [Kind(route="waits")])
    assert b"waits" in queue.call("gauge")[1][-1]


def test_a_letter_that_is_past_its_days_is_not_counted(queue: Stories) -> None:
    """`dead:<id>` ends by TTL, its member of `dead` by number alone: the gauge counts it, and
    `revive` finds it gone, for ever."""
    queue.admit("g0", [Kind(attempts=1)])
    queue.retry("w9", queue.claim("w9", 1))
    queue.client.delete(f"{queue.snap.prefix}dead:t{1:021d}")
    assert queue.raw("revive", f"t{1:021d}", f"t{2:021d}")[2] == [b"GONE"]
    assert not queue.client.exists(f"{queue.snap.prefix}dead")


def test_a_bucket_named_twice_by_one_task_does_not_fall_below_zero(queue: Stories) -> None:
    """Each part is compared with the level alone, then both are taken: -1 token is packed without
    its sign and read back as a full bucket. `limit` refuses a name twice, so may `take`."""
    buckets = [("all", 1, 1_000_000, 1)]
    with pytest.raises(redis.ResponseError, match="BADARG take: "):
        queue.admit("g0", [Kind(options="take=1:1,1:1")], buckets=buckets)


@pytest.mark.parametrize("ids", [(1, 2), (2, 3)])
def test_a_place_is_handed_on_to_one_task_of_a_batch(queue: Stories, ids: tuple[int, int]) -> None:
    """Both skip room and capacity, and neither is counted."""
    name = queue.new_id()
    queue.place("g0", "take", name, "r0")
    kind = Kind(options=f"place={name}")
    queue.admit("g0", [kind, kind], ids=[f"t{n:021d}" for n in ids])
    queue.drain()


def test_the_task_of_a_dead_owners_place_lives_on_where_it_was_submitted(queue: Stories) -> None:
    name = queue.new_id()
    queue.place("g0", "take", name, "r0")
    queue.admit("g0", [Kind(options=f"place={name}", keep_s=60)], ids=[name])
    queue.delete_inbox("g0")
    queue.outlast(3000)
    assert (list(queue.model.tasks), queue.model.places) == ([name], {})


def test_a_watched_task_whose_watchers_are_all_gone_is_not_leased(queue: Stories) -> None:
    queue.attach("g1")
    queue.admit("g1", [Kind(), Kind()])
    queue.attach("kept", f"t{1:021d}", f"t{2:021d}")
    queue.delete_inbox("g1")
    assert [name for name, _ in queue.claim("w9", 1)] == [f"t{1:021d}"]
    queue.delete_inbox("kept")
    assert queue.claim("w9", 1) == []


def test_a_large_answer_lives_as_long_as_its_value(queue: Stories) -> None:
    queue.admit("g0", [Kind(keep_s=600), Kind()])
    prefix = queue.snap.prefix
    for number in (1, 2):
        queue.client.set(f"{prefix}body:t{number:021d}.out", b"large", px=5_000_000)
    for name, fence in queue.claim("w9", 2):
        queue.numbered("publish", "w9", 0, 9, name, fence, "done", "M")
    assert 599_000 < queue.client.pttl(f"{prefix}body:t{1:021d}.out") <= 600_000
    assert 59_000 < queue.client.pttl(f"{prefix}body:t{2:021d}.out") <= 60_000


def test_an_option_is_named_once(queue: Stories) -> None:
    first, second = (queue.new_id() for _ in range(2))
    with pytest.raises(redis.ResponseError, match="BADARG options: expected each once"):
        queue.admit("g0", [Kind(options=f"place={first};place={second}")])


def test_a_letter_comes_back_under_an_id_that_nothing_is_kept_for(queue: Stories) -> None:
    queue.admit("g0", [Kind(keep_s=60), Kind(attempts=1)])
    done, poison = queue.claim("w9", 2)
    queue.publish("w9", [done])
    queue.retry("w9", [poison])
    assert queue.call("revive", poison[0], done[0])[2] == [b"KNOWN"]


def test_a_place_is_looked_after_four_times_a_lease(queue: Stories) -> None:
    queue.attach("g1")
    assert queue.place("g1", "take", queue.new_id(), "r0") == "OK"
    queue.delete_inbox("g1")
    queue.outlast(520)
    assert not queue.client.exists(f"{queue.snap.prefix}places")


def test_what_can_not_be_leased_in_its_time_is_late(queue: Stories) -> None:
    """The pace: 30 runs of 100 ms, one at a time, so that nine ahead take longer than 500 ms."""
    queue.admit("g0", [Kind() for _ in range(40)])
    for _ in range(30):
        leases = queue.claim("w9", 1)
        queue.tick(100)
        queue.publish("w9", leases)
    words = queue.admit("g0", [Kind(wait_ms=wait, due_ms=60_000) for wait in (500, 5_000)])
    assert [word.split()[0] for word in words] == ["LATE", "OK"]


def test_the_last_attempt_of_a_route_is_the_last(queue: Stories) -> None:
    """A worker may allow fewer attempts than the submission did: `counted` 2 says so."""
    queue.admit("g0", [Kind(attempts=3)])
    assert queue.retry("w9", queue.claim("w9", 1), delay_ms=500, counted=2) == ["DEAD"]


def test_a_short_lease_is_looked_after_four_times(queue: Stories) -> None:
    queue.configure(lease_ms=400)
    queue.admit("g0", [Kind(attempts=2)])
    assert queue.sweep() <= 100
    queue.tick(101)
    assert queue.raw("sweep")[3] == 1


def test_three_outages_in_one_lease_have_their_grace(queue: Stories) -> None:
    queue.outages("g0", "w9", [Kind(attempts=3)])
    assert queue.renew("w9", queue.leases_of("w9")) == ["OK"]


def test_a_rare_sweeper_keeps_no_lease_for_ever(queue: Stories) -> None:
    queue.rare_sweeper("g0", "w9", [Kind(attempts=1)])
    assert not queue.model.tasks


def test_a_place_counts_once_with_the_task_of_its_id(queue: Stories) -> None:
    name = f"t{1:021d}"
    queue.place("g0", "take", name, "r0")
    assert queue.admit("g0", [Kind(route="r0")], ids=[name]) == ["OK"]
    assert queue.place("g0", "leave", name, "r0") == "OK"
    assert not queue.snap.hash("routes")


def test_a_place_takes_no_task_of_another_route_along(queue: Stories) -> None:
    name = f"t{1:021d}"
    queue.place("g0", "take", name, "r1")
    assert queue.admit("g0", [Kind(route="r2")], ids=[name]) == ["OK"]
    assert queue.place("g0", "leave", name, "r1") == "OK"
    assert [one for one, _ in queue.claim("w9", 1)] == [name]
