"""The helpers of fast-priority's package, under their names."""

from __future__ import annotations

import pytest

from pyclient.compat.fast_priority import generate_enpoint_list, normalize_paths


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (None, []),
        ("", []),
        (" ,,  ,", []),
        ("one", ["one"]),
        (" one,", ["one"]),
        ("one/two , /three/", ["one/two", "/three/"]),
    ],
)
def test_the_helper_for_lists_has_its_name(text: str | None, paths: list[str]) -> None:
    assert generate_enpoint_list(text) == paths


@pytest.mark.parametrize(
    ("paths", "both_ways"),
    [
        (["one"], {"one", "one/"}),
        (["one/"], {"one", "one/"}),
        (["a/b/", "c"], {"a/b", "a/b/", "c", "c/"}),
    ],
)
def test_the_helper_for_slashes_has_its_name(paths: list[str], both_ways: set[str]) -> None:
    found = normalize_paths(paths)
    assert (set(found), len(found)) == (both_ways, len(both_ways))
