"""What a demo has shown: the table before and after, and whether the line has held."""

from __future__ import annotations

from typing import Any, NamedTuple

REFUSAL_MS = 250.0
HIGH_OK = 0.99
WORKED = 0.90
DIRECT_HIGH_OK = 0.90


class Check(NamedTuple):
    """One promise; `binding` ones decide the exit code."""

    text: str
    came: str
    ok: bool
    binding: bool = True


def checks(direct: dict[str, Any], line: dict[str, Any], seconds: float) -> list[Check]:
    """The promises of the demo against the figures."""
    # Until the last answer: what still waited when the peak ended is worked off at full speed.
    busy_s = max(seconds, line["busy_s"])
    worked = sum(line["ok"].values()) / (line["backend_per_s"] * busy_s)
    refusal = line["refused_p99_ms"]
    high = share(line, "high")
    shy = line["refused_without_retry_after"]
    most, capacity = line["backend_max_in_flight"], line["backend_capacity"]
    return [
        Check("line: at least 99 % of high answered", f"{high:.1%}", high >= HIGH_OK),
        Check("line: at least 90 % of the capacity used", f"{worked:.1%}", worked >= WORKED),
        Check(
            "line: refusals within 250 ms (p99)",
            "none" if refusal is None else f"{refusal:.0f} ms",
            refusal is None or refusal <= REFUSAL_MS,
        ),
        Check("line: each refusal says when to come back", f"{shy} do not", shy == 0),
        Check("line: backend never over its capacity", f"{most} of {capacity}", most <= capacity),
        Check("line: nothing lost", f"{line['lost']}", line["lost"] == 0),
        Check(
            "direct: less than 90 % of high answered",
            f"{share(direct, 'high'):.1%}",
            share(direct, "high") < DIRECT_HIGH_OK,
            binding=False,
        ),
    ]


def share(figures: dict[str, Any], kind: str) -> float:
    """The part of a class that was ok."""
    offered = figures["offered"][kind]
    return float(figures["ok"][kind] / offered) if offered else 1.0


def table(direct: dict[str, Any], line: dict[str, Any]) -> list[str]:
    """Lines of text."""
    rows = [(name, of(direct), of(line)) for name, of in _ROWS]
    rows.insert(0, ("", "direct", "through the line"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [
        f"  {row[0]:{widths[0]}}   {row[1]:>{widths[1]}}   {row[2]:>{widths[2]}}" for row in rows
    ]


def _ok(kind: str) -> Any:
    def cell(figures: dict[str, Any]) -> str:
        return f"{figures['ok'][kind]:,} ({share(figures, kind):.1%})"

    return cell


def _took(kind: str) -> Any:
    def cell(figures: dict[str, Any]) -> str:
        p50, p99 = figures["p50_ms"][kind], figures["p99_ms"][kind]
        return "–" if p50 is None else f"{p50 / 1000:.2f} / {p99 / 1000:.2f} s"

    return cell


def _refused(figures: dict[str, Any]) -> str:
    p99 = figures["refused_p99_ms"]
    return f"{figures['refused']:,}" + ("" if p99 is None else f" in {p99:.0f} ms (p99)")


_ROWS: tuple[tuple[str, Any], ...] = (
    ("offered", lambda f: f"{sum(f['offered'].values()):,}"),
    ("high: answered ok", _ok("high")),
    ("high: p50 / p99", _took("high")),
    ("low: answered ok", _ok("low")),
    ("low: p50 / p99", _took("low")),
    ("refused at once", _refused),
    ("failed", lambda f: f"{f['failed']:,}"),
    ("lost: no answer in 10 s", lambda f: f"{f['lost']:,}"),
    (
        "backend: most at once",
        lambda f: f"{f['backend_max_in_flight']:,} of {f['backend_capacity']}",
    ),
)
