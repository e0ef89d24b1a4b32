"""Ends process groups when their owner is gone, however it went. A script, never imported.

    python -I -S warden.py

Standard input is a pipe. `+ID` and a newline puts a group under it, `-ID` takes it out; the end
of the pipe says that the owner is gone, and that every child has become what it was to be (see
shim.py). Then SIGTERM, a grace, SIGKILL.
"""

import os
import signal
import time

GRACE_S = 3.0


def there(group: int) -> bool:
    """Whether a process of the group is left."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def tell(groups: set[int], number: int) -> None:
    """Signal all of them."""
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass


def watch() -> set[int]:
    """Keep the list until the pipe ends."""
    groups: set[int] = set()
    with os.fdopen(0, "rb") as pipe:
        for line in pipe:
            (groups.add if line[:1] == b"+" else groups.discard)(int(line[1:]))
    return groups


def main() -> None:
    """Watch, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = watch()
    tell(groups, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while any(map(there, groups)) and time.monotonic() < until:
        time.sleep(0.02)
    tell(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
