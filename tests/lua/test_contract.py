"""Headers are kept: arguments are checked before anything is written, words are those declared."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis

from pyclient.scripts import Script

from .calls import BAD, CALLS, SETTINGS, Part
from .conftest import scripts_root
from .rig import Rig, task_id

VERBS = sorted(CALLS)


def refused(rig: Rig, verb: str, args: list[Any]) -> str:
    """The error of a call; no key may have changed."""
    before = rig.digest()
    with pytest.raises(redis.ResponseError) as caught:
        rig.call(verb, *args)
    assert rig.digest() == before, f"{verb} wrote before it refused {args}"
    return str(caught.value)


def at_work(rig: Rig) -> None:
    """A queue with something of everything."""
    rig.configure(mode="pull", capacity=1000, concurrency__r1=1)
    rig.call("attach", "g0")
    rig.admit([task_id(n) for n in range(3)])
    rig.admit([task_id(n) for n in range(3, 6)], route="r1")
    rig.claim(2)
    rig.numbered("place", "g0", "pull", "take", task_id(9), "r0", 3)


def values_of(parts: list[Part]) -> list[Any]:
    """The arguments of a valid call."""
    return [part.value for part in parts]


def cases() -> list[tuple[str, int, str, Any]]:
    """Each argument of each script, malformed in each way that its kind can be."""
    return [
        (verb, at, part.name, bad)
        for verb, parts in CALLS.items()
        for at, part in enumerate(parts)
        for bad in BAD[part.kind](part)
    ]


def test_every_malformed_argument_is_refused_and_nothing_is_written(rig: Rig) -> None:
    at_work(rig)
    for verb, at, name, bad in cases():
        args = values_of(CALLS[verb])
        args[at] = bad
        said = refused(rig, verb, args)
        assert said.startswith("BADARG "), f"{verb} {name}={bad!r}: {said}"
        assert re.match(r"BADARG [a-z_]+: expected ", said), f"{verb} {name}={bad!r}: {said}"


@pytest.mark.parametrize("verb", VERBS)
def test_the_error_names_the_argument(rig: Rig, verb: str) -> None:
    """Where the malformed value can't be taken for a count that shifts what follows."""
    for at, part in enumerate(CALLS[verb]):
        if part.named and BAD[part.kind](part):
            args = values_of(CALLS[verb])
            args[at] = BAD[part.kind](part)[0]
            said = refused(rig, verb, args)
            assert said.startswith(f"BADARG {part.named}: "), f"{verb} {part.name}: {said}"


@pytest.mark.parametrize("verb", VERBS)
def test_too_few_and_too_many_arguments_are_refused(rig: Rig, verb: str) -> None:
    args = values_of(CALLS[verb])
    for wrong in (*([args[:-1]] if args else []), [*args, "x"], *([[]] if args else [])):
        if verb == "attach" and wrong == args[:-1]:
            continue  # an attach without ids is a call of its own
        assert refused(rig, verb, wrong).startswith("BADARG "), f"{verb} {wrong}"


@pytest.mark.parametrize("verb", VERBS)
def test_valid_calls_are_taken(rig: Rig, verb: str) -> None:
    reply = rig.call(verb, *values_of(CALLS[verb]))
    assert reply[0] == b"OK", reply


@pytest.mark.parametrize("verb", VERBS)
def test_groups_are_bounded(rig: Rig, verb: str, scripts: dict[str, Script]) -> None:
    for name, rule in scripts[verb].header.args:
        match = re.fullmatch(r"groups (\d+)\.\.(\d+) of (.*)", rule)
        if not match:
            continue
        size, top = len(match[3].split()), int(match[2])
        args = values_of(CALLS[verb])
        args += args[-size:] * top
        assert refused(rig, verb, args).startswith("BADARG "), name


@pytest.mark.parametrize("verb", VERBS)
def test_the_table_has_every_argument_of_the_header(verb: str, scripts: dict[str, Script]) -> None:
    declared = []
    for name, rule in scripts[verb].header.args:
        inner = re.search(r" (?:of|then) ([a-z_ ]+?)(?: each)?$", rule)
        fields = inner[1].split() if inner else []
        declared += ([] if rule.startswith("groups") else [name]) + fields
    assert [part.name for part in CALLS[verb]] == declared


@pytest.mark.parametrize("verb", VERBS)
def test_numbers_keep_the_ranges_of_the_header(verb: str, scripts: dict[str, Script]) -> None:
    ranges = {part.name: (part.low, part.high) for part in CALLS[verb] if part.kind == "int"}
    for name, rule in scripts[verb].header.args:
        match = re.match(r"int (\d+)\.\.(\d+)", rule)
        if match:
            assert ranges[name] == (int(match[1]), int(match[2])), name


def test_a_script_of_the_other_mode_is_refused(rig: Rig) -> None:
    rig.configure(mode="hold")
    for verb in ("admit", "claim", "retry", "place", "revive"):
        said = refused(rig, verb, values_of(CALLS[verb]))
        assert said.startswith("BADMODE this queue is hold"), said
    assert refused(rig, "configure", ["mode", "pull"]).startswith("BADMODE ")


def test_a_hold_queue_takes_no_limit_at_publish(rig: Rig) -> None:
    rig.configure(mode="hold")
    args = ["g0", 1, 1, 9, task_id(1), 5, "done", ""]
    assert refused(rig, "publish", args).startswith("BADARG limit: ")


@pytest.mark.parametrize("verb", [v for v in VERBS if v != "limit"])
def test_data_of_another_layout_are_refused(rig: Rig, verb: str) -> None:
    rig.configure(mode="pull")
    conf = rig.client.hget(rig.prefix + "conf", "q")
    assert isinstance(conf, bytes)
    for schema, word in ((conf[0] + 1, "NEWER "), (conf[0] - 1, "OLDER ")):
        rig.client.hset(rig.prefix + "conf", "q", bytes([schema]) + conf[1:])
        assert refused(rig, verb, values_of(CALLS[verb])).startswith(word)


def test_scripts_have_headers_that_say_what_they_do(scripts: dict[str, Script]) -> None:
    for name, script in scripts.items():
        header = script.header
        assert header.summary.endswith(".")
        assert header.keys[0][0] == "prefix"
        assert header.returns[0][0] == "OK"
        assert header.replay
        assert header.cost
        numbered = {"caller", "number"} <= {arg for arg, _ in header.args}
        assert (header.replay == "by caller number") == numbered, name
        assert ("OLD" in [word for word, _ in header.returns]) == numbered, name


def test_only_what_lets_in_is_refused_by_a_full_server(scripts: dict[str, Script]) -> None:
    """What takes memory stops at `maxmemory`, what drains goes on (docs/decisions/0040)."""
    grow = {name for name, script in scripts.items() if script.header.kind == "grow"}
    read = {name for name, script in scripts.items() if script.header.kind == "read"}
    assert {"admit", "limit", "configure"} <= grow
    assert read == {"fetch", "gauge"}
    assert not grow & {"claim", "publish", "retry", "cancel", "renew", "sweep"}


def test_declared_keys_are_used(scripts: dict[str, Script]) -> None:
    for name, script in scripts.items():
        for prefix, _, _ in script.header.prefixes:
            assert f"'{prefix}" in script.text.decode(), f"{name} declares {prefix}"


def test_the_number_of_a_profile_is_digits_too(rig: Rig) -> None:
    args = values_of(CALLS["admit"])
    at = [part.name for part in CALLS["admit"]].index("profile")
    for bad in ("0x1", " 1", "1e0", "1.0"):
        args[at] = bad
        assert refused(rig, "admit", args).startswith("BADARG profile: ")


def test_options_have_nothing_between_commas(rig: Rig) -> None:
    args = values_of(CALLS["admit"])
    at = [part.name for part in CALLS["admit"]].index("options")
    for bad in ("take=1:1,", "take=,1:1", "take=1:1;;", ";take=1:1"):
        args[at] = bad
        assert refused(rig, "admit", args).startswith("BADARG ")


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_malformed_setting_is_refused(rig: Rig, name: str) -> None:
    for bad in SETTINGS[name]:
        said = refused(rig, "configure", ["limit", "5", name, bad])
        assert said.startswith("BADARG "), f"{name}={bad!r}: {said}"


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_for_users_names_every_argument_and_word(
    verb: str, scripts: dict[str, Script]
) -> None:
    page = (scripts_root() / "README.md").read_text(encoding="utf-8")
    sections = re.split(r"(?m)^##+ ", page)
    mine = [part for part in sections if re.match(rf"{verb}\b", part)]
    assert len(mine) == 1, f"lua/README.md has {len(mine)} sections for {verb}"
    for part in CALLS[verb]:
        assert re.search(rf"\b{part.name}\b", mine[0]), f"{verb}: {part.name} is not explained"
    for word in scripts[verb].header.words:
        assert re.search(rf"`{word}\b", mine[0]), f"{verb}: the word {word} is not explained"
    if any(word == "OLD" for word, _ in scripts[verb].header.returns):
        assert re.search(rf"Numbered calls.*`{verb}`", page), f"{verb} is not among the numbered"
