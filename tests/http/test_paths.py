"""Paths: passed on or refused, never rewritten; and which level they get."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyclient.errors import ConfigError
from pyclient.http.paths import HIGH, LOW, PathRules, query_refusal, refusal
from pyclient.http.target import Target


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"//",
        b"//evil.example/x",
        b"/a%2Fb",
        b"/a%3Fb",
        b"/a%23b",
        b"/a%25b",
        b"/a%20b",
        b"/%C3%A9",
        b"/\xc3\xa9",
        b"/a;v=1/b",
        b"/...",
        b"/.well-known/x",
        b"/a..b",
        b"/%zz%",
        b"/a:80@b",
        b"/%5cserver",
        b'/a"<>^`{|}b',
    ],
)
def test_a_path_that_only_looks_odd_is_passed_on(path: bytes) -> None:
    assert refusal(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"*",
        b"a",
        b"http://evil.example/",
        b"evil.example:443",
        b"/..",
        b"/a/../b",
        b"/a/./b",
        b"/a/.",
        b"/%2e%2e/etc",
        b"/a/%2E%2e",
        b"/..%2fetc",
        b"/a%2f..%2fb",
        b"/%252e%252e/etc",
        b"/..%252fetc",
        b"/..%5cetc",
        b"/..;/admin",
        b"/..;x=1/admin",
        b"/..%3b/admin",
        b"/..%3f",
        b"/..%00",
        b"/a\\b",
        b"/a#b",
        b"/a b",
        b"/a\x00",
        b"/a\x7f",
        b"/%00",
        b"/a%0ab",
        b"/a%0D%0Ab",
        b"/a%250ab",
        b"/a%7f",
    ],
)
def test_a_path_that_could_be_read_in_two_ways_is_refused(path: bytes) -> None:
    assert refusal(path) != ""


@given(st.lists(st.sampled_from([b"/", b".", b"%2e", b"%252e", b"%2f", b"\\", b"a", b"%5C", b";"])))
@example([b"/", b"%2e", b".", b"%2f"])
def test_nothing_that_passes_leaves_its_folder_however_often_it_is_decoded(
    parts: list[bytes],
) -> None:
    path = b"/" + b"".join(parts)
    if refusal(path):
        return
    once = unquote_to_bytes(path)
    for form in (path, once, unquote_to_bytes(once)):
        assert not {b".", b".."} & set(form.replace(b"\\", b"/").split(b"/"))


@given(st.binary(max_size=60))
def test_any_bytes_get_a_verdict(raw: bytes) -> None:
    verdict = PathRules().judge(raw)
    assert bool(verdict.refusal) == bool(refusal(raw))
    assert verdict.level in (HIGH, LOW)


@pytest.mark.parametrize(
    ("query", "fine"),
    [
        (b"", True),
        (b"x=%26&x=2&y=%2B+z", True),
        (b"a=?/\\\xe9", True),
        (b"a b", False),
        (b"a#", False),
    ],
)
def test_a_query_is_left_alone_unless_it_would_break_the_request_line(
    query: bytes,
    fine: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert (query_refusal(query) == "") is fine


def level(path: bytes, **rules: object) -> int:
    return PathRules(**rules).judge(path).level  # type: ignore[arg-type]


def test_unlisted_paths_are_high_unless_the_mode_says_listed() -> None:
    assert level(b"/a", listed=["a"]) == LOW
    assert level(b"/b", listed=["a"]) == HIGH
    assert level(b"/a", listed=["a"], high_is_listed=True) == HIGH
    assert level(b"/b", listed=["a"], high_is_listed=True) == LOW
    assert level(b"/b") == HIGH


@pytest.mark.parametrize("item", ["a/b", "/a/b", "a/b/", "/a/b/"])
def test_slashes_around_a_listed_path_do_not_matter(item: str) -> None:
    assert level(b"/a/b", listed=[item]) == LOW
    assert level(b"/a/b/", listed=[item]) == LOW
    assert level(b"/a/b/c", listed=[item]) == HIGH
    assert level(b"/a", listed=[item]) == HIGH


def test_without_normalisation_the_trailing_slash_counts() -> None:
    assert level(b"/a", listed=["/a"], normalize=False) == LOW
    assert level(b"/a/", listed=["/a"], normalize=False) == HIGH
    assert level(b"/a/", listed=["a/"], normalize=False) == LOW
    assert level(b"/a", listed=["a/"], normalize=False) == HIGH


@pytest.mark.parametrize("item", ["low", "/low", "low/", "/low/"])
def test_a_base_path_matches_whole_segments(item: str) -> None:
    assert level(b"/low", bases=[item]) == LOW
    assert level(b"/low/", bases=[item]) == LOW
    assert level(b"/low/x/y", bases=[item]) == LOW
    assert level(b"/lowfat", bases=[item]) == HIGH
    assert level(b"/x/low", bases=[item]) == HIGH


def test_the_root_can_be_listed_and_can_be_a_base() -> None:
    assert level(b"/", listed=["/"]) == LOW
    assert level(b"/a", listed=["/"]) == HIGH
    assert level(b"/a/b", bases=["/"]) == LOW
    assert level(b"/", bases=["/"]) == LOW


def test_another_spelling_of_a_path_gets_the_same_level() -> None:
    assert level(b"/%61/%C3%A9", listed=["a/é"]) == LOW
    assert level(b"/l%6fw/x", bases=["low"]) == LOW


def test_passed_through_paths_match_as_a_whole() -> None:
    rules = PathRules(pass_through=["health"])
    assert rules.judge(b"/health").pass_through
    assert rules.judge(b"/health/").pass_through
    assert not rules.judge(b"/healthy").pass_through
    assert not rules.judge(b"/health/x").pass_through
    assert not PathRules().judge(b"/health").pass_through


def test_verdicts_are_remembered_but_not_without_bound() -> None:
    rules = PathRules()
    for number in range(10_000):
        rules.judge(b"/%d" % number)
    rules.judge(b"/" + b"a" * 5000)
    assert len(rules._known) <= 4096
    assert rules.judge(b"/1") is rules.judge(b"/1")


@pytest.mark.parametrize(
    ("url", "base", "authority", "prefix", "port"),
    [
        ("http://api:9000", b"http://api:9000", b"api:9000", b"", 9000),
        ("http://api:9000/", b"http://api:9000", b"api:9000", b"", 9000),
        ("http://api:80/v1/", b"http://api/v1", b"api", b"/v1", 80),
        ("https://api/v1", b"https://api/v1", b"api", b"/v1", 443),
        ("http://[::1]:8080/a/b//", b"http://[::1]:8080/a/b", b"[::1]:8080", b"/a/b", 8080),
    ],
)
def test_a_target_is_taken_apart(
    url: str, base: bytes, authority: bytes, prefix: bytes, port: int
) -> None:
    target = Target.parse(url)
    assert (target.base, target.authority, target.prefix, target.port) == (
        base,
        authority,
        prefix,
        port,
    )
    assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    "url", ["", "api:80", "ftp://api", "http://a b", "http://u:p@h", "http://h?q"]
)
def test_a_target_that_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        Target.parse(url)
