"""A client that leaves the line takes its request with it; a worker that is killed does not take
the answer with it.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.apps.acceptance.rawclient import RawClient, connected, request
from tests.apps.acceptance.rawtarget import Gate, Seen, Wire, answer
from tests.apps.acceptance.rig import Site, site
from tests.servers import until

LEASE = 1.0


@pytest.fixture(scope="module")
def here() -> Iterator[Site]:
    with site(PEAK_LEASE=f"{LEASE:g}") as running:
        running.up(1, 1)
        yield running


def _leave(client: RawClient, how: int) -> None:
    """In good order, half, or by a reset."""
    if how == 0:
        client.close()
    elif how == 1:
        client.shut_down()
    else:
        client.reset()


def _all_leave(here: Site, count: int, seed: int) -> None:
    """`count` clients wait behind a busy worker, and leave; then the worker is free again."""
    with contextlib.ExitStack() as stack:
        _come_and_leave(here, stack, count, seed)


def _come_and_leave(here: Site, stack: contextlib.ExitStack, count: int, seed: int) -> None:
    chance = random.Random(seed)
    target = here.target
    target.seen.clear()
    gate = Gate()
    target.answers[b"/busy"] = gate
    busy = here.later(b"GET", b"/busy")
    until(lambda: target.at(b"/busy"), what="a busy worker")
    clients = []
    for number in range(count):
        client = stack.enter_context(connected(here.port))
        large = b"x" * chance.choice([0, 10, 6000])
        method = chance.choice([b"GET", b"POST", b"DELETE"])
        client.send(request(method, b"/left/%d" % number, body=large or None))
        clients.append(client)
    here.waiting(count)
    chance.shuffle(clients)
    for client in clients:
        _leave(client, chance.randrange(3))
    here.waiting(0)
    gate.open()
    assert busy.result().status == 200
    assert here.ask(b"GET", b"/after").status == 200
    # The health page, too, asks the target something.
    assert [seen.target for seen in target.seen if seen.target != b"/"] == [b"/busy", b"/after"]


def test_of_a_hundred_clients_that_leave_none_is_seen_by_the_target(here: Site) -> None:
    _all_leave(here, 100, seed=1)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_of_a_thousand_clients_that_leave_none_is_seen_by_the_target(here: Site) -> None:
    for seed in range(4):
        _all_leave(here, 250, seed=seed)


def test_those_who_stay_are_served_among_those_who_leave(here: Site) -> None:
    target = here.target
    target.seen.clear()
    gate = Gate()
    target.answers[b"/busy"] = gate
    busy = here.later(b"GET", b"/busy")
    until(lambda: target.at(b"/busy"), what="a busy worker")
    with contextlib.ExitStack() as stack:
        clients = []
        for number in range(40):
            client = stack.enter_context(connected(here.port))
            word = b"left" if number % 2 else b"stays"
            client.send(request(b"GET", b"/%b/%d" % (word, number)))
            clients.append(client)
        here.waiting(40)
        for client in clients[1::2]:
            client.close()
        here.waiting(20)
        gate.open()
        assert [client.answer().status for client in clients[::2]] == [200] * 20
    assert busy.result().status == 200
    assert not [seen for seen in target.seen if seen.target.startswith(b"/left")]


def test_a_client_that_leaves_while_its_request_runs_is_told_to_the_target(here: Site) -> None:
    gone: list[bool] = []

    def script(seen: Seen, wire: Wire) -> None:
        gone.append(wire.gone(10))

    here.target.seen.clear()
    here.target.answers[b"/running"] = script
    client = RawClient(here.port)
    client.send(request(b"GET", b"/running"))
    until(lambda: here.target.at(b"/running"), what="a running request")
    time.sleep(0.3)
    client.close()
    until(lambda: gone, timeout=LEASE + 2, what="the end of the upstream connection")
    assert gone == [True]
    assert here.ask(b"GET", b"/after").status == 200


@pytest.mark.faults
def test_a_killed_worker_costs_a_get_time_and_a_post_its_answer() -> None:
    with site(PEAK_LEASE=f"{LEASE:g}") as here:
        gateway = here.gateway()
        doomed = here.worker(1, 2)
        target = here.target

        def first_hangs(seen: Seen, wire: Wire) -> None:
            if len(target.at(seen.target)) == 1:
                wire.gone(20)
            else:
                wire.send(answer(b"again"))

        target.default = first_hangs
        get = here.later(b"GET", b"/get")
        post = here.later(b"POST", b"/post", body=b"pay")
        until(lambda: len(target.seen) == 2, what="two running requests")
        here.worker(1, 2, wait=False)
        time.sleep(1)  # so that the other one is there already
        began = time.monotonic()
        doomed.kill_all()
        lost = post.result()
        assert time.monotonic() - began < LEASE + 1
        assert (lost.status, lost.problem["code"]) == (502, "lost")
        assert (get.result().status, get.result().body) == (200, b"again")
        assert time.monotonic() - began < LEASE + 2
        assert (len(target.at(b"/get")), len(target.at(b"/post"))) == (2, 1)
        assert gateway.running()
