"""The calculation of docs/explanation/scaling.md: what must rise rises, what must fall falls."""

from __future__ import annotations

import math

import pytest

from bench import model, report

COSTS = model.Costs(
    fixed=100.0, each=15.0, outside=3.0, roles={"gateway": 200.0, "worker": 50.0}, net_bytes=1000.0
)


def test_redis_costs_less_a_task_the_more_a_call_carries() -> None:
    costs = [COSTS.redis_us(size) for size in (1, 4, 16, 64)]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == 118
    assert costs[-1] == pytest.approx(19.5625)


def test_where_redis_has_no_time_for_small_calls_they_grow_until_it_has() -> None:
    size = model.tasks_a_call(COSTS, 20_000, 10)
    assert 1 < size < 64
    assert 20_000 * COSTS.redis_us(size) == pytest.approx(1e6)
    assert model.tasks_a_call(COSTS, 100, 10) == 1
    assert math.isinf(model.tasks_a_call(COSTS, 60_000, 10))


def test_a_lone_client_gathers_on_the_way() -> None:
    assert model.tasks_a_call(COSTS, 10_000, 1) > model.tasks_a_call(COSTS, 10_000, 100)


def test_more_clients_wait_longer_for_their_turn() -> None:
    times = [model.call_ms(COSTS, 20_000, clients) for clients in (2, 20, 200)]
    assert times == sorted(times)
    assert times[0] < 2 < times[-1]


def test_a_cell_does_less_than_all_of_redis_and_more_than_calls_of_one() -> None:
    most = model.cell(COSTS, "gateway")
    assert 0.5 * 1e6 / COSTS.redis_us(1) < most <= 0.7 * 1e6 / COSTS.redis_us(64) + 1
    assert model.fits(COSTS, most, model.clients_for(COSTS, most, "gateway"))


def test_cells_grow_with_the_rate_and_one_queue_grows_faster() -> None:
    assert model.clients_for(COSTS, 1_000_000, "gateway") == 286
    few, many = (model.shards(COSTS, rate, "gateway") for rate in (100_000, 1_000_000))
    assert many > 10 * few > 0


def test_what_stands_between_two_marks_is_replaced() -> None:
    assert report.between("a<x>old<y>b", "<x>", "<y>", "new") == "a<x>new<y>b"
    with pytest.raises(ValueError, match="expected the marks"):
        report.between("a", "<x>", "<y>", "new")
