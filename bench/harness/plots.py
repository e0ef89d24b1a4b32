"""Plots as PNG and SVG. matplotlib is the extra `bench`; without it a run says so and goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .options import say

OURS, THEIRS, PLAIN = "#d1495b", "#30638e", "#9aa0a6"
Points = Sequence[tuple[float, float]]


def _figure(title: str, size: tuple[float, float]) -> tuple[Any, Any] | None:
    try:
        import matplotlib
    except ImportError:
        say("no plots: matplotlib is not installed (pip install 'peakshaver[bench]')")
        return None
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "peakshaver"  # the same figures make the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=size, layout="constrained")
    axes.set_title(title, loc="left", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, folder: Path, name: str) -> list[Path]:
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "svg")]
    figure.savefig(paths[0], dpi=110)
    figure.savefig(paths[1], metadata={"Date": None})
    pyplot.close(figure)
    return paths


def bars(
    folder: Path, name: str, title: str, values: Mapping[str, float | None], *, unit: str
) -> list[Path]:
    """One bar each, the longest on top; ours and the floor stand out by colour."""
    there = sorted(
        ((value, label) for label, value in values.items() if value is not None), reverse=True
    )
    made = _figure(title, (7.5, 0.6 + 0.28 * len(there))) if there else None
    if made is None:
        return []
    figure, axes = made
    labels = [label for _, label in there]
    colours = [_colour(label) for label in labels]
    drawn = axes.barh(labels, [value for value, _ in there], color=colours, height=0.7)
    axes.bar_label(drawn, fmt="{:,.0f}", padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    return _save(figure, folder, name)


def lines(
    folder: Path,
    name: str,
    title: str,
    series: Mapping[str, Points],
    *,
    x: str,
    y: str,
    log_x: bool = True,
) -> list[Path]:
    """A line each over a (logarithmic) axis, from zero up."""
    made = _figure(title, (7.5, 3.6)) if any(series.values()) else None
    if made is None:
        return []
    figure, axes = made
    for label, points in series.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label)
    if log_x:
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y", alpha=0.3)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8)
    return _save(figure, folder, name)


def _colour(label: str) -> str:
    if label.startswith("peakshaver"):
        return OURS
    return PLAIN if label.startswith(("floor", "bare")) else THEIRS
