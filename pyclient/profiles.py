"""From the arguments of a call to what `admit` takes, checked here: a bad one never travels."""

from __future__ import annotations

import functools
import hashlib
import math
from base64 import urlsafe_b64encode

from .errors import ConfigError
from .keys import check_route, check_tenant, shorten
from .model import Profile

LONGEST_MS = 2_592_000_000
KEEP_LONGEST_S = 604_800
ATTEMPTS = 3


@functools.lru_cache(1024, typed=True)
def make_profile(
    route: str,
    level: int,
    tenant: str,
    wait_ms: int,
    run_ms: int,
    due_ms: int,
    attempts: int,
    keep_s: int,
) -> Profile:
    """Checked, and remembered: most calls of a program look alike. Raises ConfigError."""
    if type(level) is not int or not 0 <= level <= 9:
        raise ConfigError(f"level {shorten(level)}: expected an integer from 0 (urgent) to 9")
    for name, value, least, most in (
        ("wait_ms", wait_ms, 1, LONGEST_MS),
        ("run_ms", run_ms, 1, LONGEST_MS),
        ("due_ms", due_ms, 0, LONGEST_MS),
        ("attempts", attempts, 1, 255),
        ("keep", keep_s, 0, KEEP_LONGEST_S),
    ):
        if type(value) is not int or not least <= value <= most:
            raise ConfigError(
                f"{name} {shorten(value)}: expected an integer from {least} to {most}"
            )
    return Profile(
        level, check_route(route), check_tenant(tenant), wait_ms, run_ms, due_ms, attempts, keep_s
    )


def profile_of(
    route: str,
    level: int,
    tenant: str,
    wait_ms: int,
    run_ms: int,
    due_ms: int,
    attempts: int,
    keep_s: int,
) -> Profile:
    """As `make_profile`, for arguments of any type."""
    try:
        return make_profile(route, level, tenant, wait_ms, run_ms, due_ms, attempts, keep_s)
    except TypeError:  # not even hashable
        make = make_profile.__wrapped__
        return make(route, level, tenant, wait_ms, run_ms, due_ms, attempts, keep_s)


def profile_of_call(route: str, level: int, tenant: str, timeout: float) -> Profile:
    """Of a call that may wait, and run, and is due within `timeout` seconds; nothing is kept."""
    try:
        return _made_of_call(route, level, tenant, timeout)
    except TypeError:  # not even hashable
        return _made_of_call.__wrapped__(route, level, tenant, timeout)


@functools.lru_cache(1024, typed=True)
def _made_of_call(route: str, level: int, tenant: str, timeout: float) -> Profile:
    wait_ms = to_ms(timeout)
    return profile_of(route, level, tenant, wait_ms, wait_ms, wait_ms, ATTEMPTS, 0)


def to_ms(seconds: float, *, what: str = "timeout") -> int:
    """Seconds as whole milliseconds, rounded up. Raises ConfigError."""
    try:
        if isinstance(seconds, bool) or not 0.001 <= seconds <= LONGEST_MS / 1000:
            raise ValueError
        return math.ceil(seconds * 1000)
    except (TypeError, ValueError):
        raise ConfigError(
            f"{what} {shorten(seconds)}: expected seconds, from 0.001 to {LONGEST_MS // 1000}"
        ) from None


def keep_of(seconds: float) -> int:
    """For how many whole seconds a submitted result is kept: at least one. Raises ConfigError."""
    try:
        if isinstance(seconds, bool) or not 0 <= seconds <= KEEP_LONGEST_S:
            raise ValueError
        return max(1, math.ceil(seconds))
    except (TypeError, ValueError):
        raise ConfigError(
            f"keep {shorten(seconds)}: expected seconds, from 0 to {KEEP_LONGEST_S}"
        ) from None


def with_key(profile: Profile, key: str, body: bytes) -> Profile:
    """With an idempotency key: never the key itself travels, and each tenant has its own."""
    if type(key) is not str or not 1 <= len(key) <= 1024:
        raise ConfigError(f"idempotency key {shorten(key)}: expected 1..1024 characters")
    name = _hash(profile.tenant.encode() + b"\0" + key.encode("utf-8", "surrogatepass"))
    return profile._replace(options=f"same={name}:{_hash(body)}")


def _hash(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()[:24]).decode()
