"""What managers, nodes and settings take, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import pytest

from .seed import CompatSettings, DistributedTaskApplyManager, QueueWorker


@pytest.mark.parametrize("name", ["confirm_timeout", "process_timeout"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "soon", None, []])
def test_a_time_out_is_seconds(name: str, value: Any) -> None:
    for seconds in (0, 0.5, "3"):
        DistributedTaskApplyManager("redis://nowhere", "/x", **{name: seconds})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} .*: expected seconds, 0 or more"):
        DistributedTaskApplyManager("redis://nowhere", "/x", **{name: value})


def test_what_is_registered_can_be_called() -> None:
    node = QueueWorker("redis://nowhere")
    with pytest.raises(TypeError, match="method of '/x' is 'work': expected a function"):
        node.method_register("/x", "work")  # type: ignore[arg-type]


@pytest.mark.parametrize(("given", "step"), [("", 0), ("2.5", 2500), ("strict", "strict")])
def test_levels_are_no_order_unless_a_setting_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, given: str, step: int | str
) -> None:
    monkeypatch.delenv("PEAK_LEVEL_STEP", raising=False)
    if given:
        monkeypatch.setenv("PEAK_LEVEL_STEP", given)
    assert CompatSettings.read().configure["level_step_ms"] == step
