"""Names that become keys, and how a value is shown in a message."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from pyclient.errors import ConfigError
from pyclient.keys import (
    Keys,
    check_id,
    check_name,
    check_route,
    check_tenant,
    new_caller_id,
    new_task_id,
    shorten,
)

WRONG: list[Any] = [
    "",
    "a b",
    "{x}",
    "a:b",
    "a*",
    "a|b",
    "a\0",
    "a\n",
    "é",
    "x" * 65,
    None,
    3,
    b"x",
]
ID = "abcdefghijklmnopqrstu-"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_all_keys_of_a_queue_share_one_hash_tag() -> None:
    keys = Keys("peak", "orders/eu")
    assert keys.base == b"peak:{orders/eu}:"
    assert keys.inbox("c") == b"peak:{orders/eu}:inbox:c"
    assert keys.told("c") == b"peak:{orders/eu}:told:c"
    assert keys.wake(9) == b"peak:{orders/eu}:wake:9"
    assert keys.request_body(ID) == f"peak:{{orders/eu}}:body:{ID}".encode()
    assert keys.answer_body(ID) == f"peak:{{orders/eu}}:body:{ID}.out".encode()


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_names_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected 1\.\.64 characters"):
        check_name("prefix", value)
    with pytest.raises(ConfigError, match=r"expected 1\.\.64 characters"):
        check_route(value)
    with pytest.raises(ConfigError):
        Keys("peak", value)
    with pytest.raises(ConfigError):
        Keys(value, "q")
    if value != "":
        with pytest.raises(ConfigError, match=r"expected 0\.\.64 characters"):
            check_tenant(value)


@pytest.mark.parametrize("value", ["a", "x" * 64, "GET/api/v1/users~%40", "a-b_c.d@e+f"])
def test_right_names_stay_as_they_are(value: str) -> None:
    assert check_route(value) == value
    assert check_tenant(value) == value
    assert check_tenant("") == ""


@pytest.mark.parametrize(
    "value", ["", "x", ID + "x", ID[:-1] + "é", ID[:-1] + "+", None, 22, b"x" * 22]
)
def test_wrong_ids_are_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="expected 22 characters"):
        check_id(value)


def test_a_name_of_ten_megabytes_makes_a_short_message() -> None:
    with pytest.raises(ConfigError) as caught:
        check_route("x" * 10_000_000)
    assert len(str(caught.value)) < 200
    assert "10000000 characters" in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_makes_ids_of_its_own() -> None:
    code = (
        "import os; from pyclient.keys import new_task_id; new_task_id();"
        "child = os.fork(); os.write(1, f'{new_task_id()}\\n'.encode()); child and os.wait()"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert len(said) == len(set(said)) == 2


def test_new_ids_are_well_formed_and_not_repeated() -> None:
    tasks, callers = {new_task_id() for _ in range(1000)}, {new_caller_id() for _ in range(1000)}
    assert len(tasks) == len(callers) == 1000
    assert all(check_id(one) for one in tasks)
    assert {len(one) for one in callers} == {8}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        (b"a", "b'a'"),
        ("x" * 60, "'" + "x" * 49 + "… (62 characters)"),
        ("x" * 100, "'" + "x" * 49 + "… (100 characters)"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,… (390 characters)"),
        (Unspeakable(), "of type Unspeakable"),
        (10**5000, "of type int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_shown_value_is_never_longer_than_a_line(value: object, shown: str) -> None:
    assert shorten(value) == shown
