"""Two helpers of fast-priority's package, for programs and tests that import them.

    from pyclient.compat.fast_priority import generate_enpoint_list, normalize_paths

The gateway itself reads its lists by `pyclient.settings`, which knows how to refuse a wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyclient.settings_parse import names


def generate_enpoint_list(text: str | None) -> list[str]:
    """The paths of a comma list, without blanks and empty items; the name is spelled as there."""
    return list(names(text or ""))


def normalize_paths(paths: Iterable[str]) -> list[str]:
    """Each path as it is, and with its trailing slash added or taken away."""
    return [
        form for path in paths for form in (path, path[:-1] if path.endswith("/") else f"{path}/")
    ]


__all__ = ["generate_enpoint_list", "normalize_paths"]
