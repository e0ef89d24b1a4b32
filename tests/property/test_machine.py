"""The scripts against the model, in both modes. The server is what `--server` and `--protocol` say.

Generate only: a failure prints the calls that led to it. `PEAK_SHRINK=1` shrinks on demand.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Mapping

import hypothesis
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pyclient.scripts import Script, load_scripts
from tests.servers import Server

from .counts import SOMETIMES
from .driver import scripts_with_test_clock
from .machine import Machine, fresh_counters
from .machine_standing import StandingMachine


def run_machine(
    client: redis.Redis,
    scripts: Mapping[str, Script],
    mode: str,
    *,
    examples: int,
    steps: int = 30,
    seeded: bool = False,
    seed: int | None = None,
) -> Counter[str]:
    """Run the machine; what was seen on the way. Each `seed` has examples of its own. The mode
    `standing` is a pull queue whose workers let claims stand."""
    seen = fresh_counters()
    base, mode = (StandingMachine, "pull") if mode == "standing" else (Machine, mode)
    machine = type("Machine", (base,), {"mode": mode, "client": client, "scripts": scripts})
    if seed is not None:
        machine = hypothesis.seed(seed)(machine)
    phases = [Phase.generate, *([Phase.shrink] if os.environ.get("PEAK_SHRINK") else [])]
    try:
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize=not seeded and seed is None,
                database=None,
                phases=phases,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        with contextlib.suppress(redis.RedisError):
            client.flushall()
    return seen


def report(seen: Counter[str], mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Print the counters."""
    with capsys.disabled():
        line = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))
        print(f"\n[{mode}] sometimes: {line}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["pull", "hold", "standing"])
def test_scripts_do_what_the_model_says(
    mode: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = int(os.environ.get("PEAK_EXAMPLES", "150"))
    scripts = scripts_with_test_clock()
    seen, rare = Counter[str](), dict[str, int]()
    for seed in (1, 2, 3):  # what was seen too seldom may come with other examples
        seen += run_machine(server.client(), scripts, mode, examples=examples, seed=seed)
        rare = {name: seen[name] for name, least in SOMETIMES[mode].items() if seen[name] < least}
        if not rare:
            break
    report(seen, mode, capsys)
    assert not rare, f"seen too seldom: {rare}"


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["pull", "hold", "standing"])
@pytest.mark.parametrize("part", range(3))
def test_scripts_do_what_the_model_says_at_length(
    mode: str, part: int, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other examples in each part, and in each run."""
    seen = run_machine(
        server.client(), scripts_with_test_clock(), mode, examples=120, steps=40, seeded=True
    )
    report(seen, f"{mode} {part}", capsys)


def test_the_bundles_of_the_product_know_no_other_clock() -> None:
    """The test's clock is another include, hence another SHA."""
    product, tested = load_scripts(), scripts_with_test_clock()
    for name, script in product.items():
        assert b"testclock" not in script.text
        if b"now_us" in script.text:
            assert b"redis.call('TIME')" in script.text
            assert b"testclock" in tested[name].text
            assert tested[name].sha != script.sha
