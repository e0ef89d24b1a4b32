"""Who listens for what is given to it: one socket, subscribed to the channels of its callers."""

from __future__ import annotations

from typing import Any

import redis

Heard = list[tuple[str, bytes]]
_PATIENCE_S = 10.0


class Ears:
    """The real subscriber of a test; what it has heard is compared with what the model expects."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._start = f"{prefix}given:"
        self._pubsub: Any = None

    def open(self, caller: str) -> None:
        """Listen for a caller too."""
        if self._pubsub is None:
            self._pubsub = self._client.pubsub()
        self._pubsub.ssubscribe(self._start + caller)
        self._confirmed("ssubscribe")

    def shut(self, caller: str) -> None:
        """Listen for it no longer."""
        self._pubsub.sunsubscribe(self._start + caller)
        self._confirmed("sunsubscribe")

    def close(self) -> None:
        """Listen for nobody."""
        if self._pubsub is not None:
            self._pubsub.close()
            self._pubsub = None

    def heard(self, count: int) -> Heard:
        """So many messages, and whatever else is there already."""
        found: Heard = []
        while self._pubsub is not None:
            wait_s = _PATIENCE_S if len(found) < count else 0.0
            message = self._pubsub.get_message(timeout=wait_s)
            if message is None:
                break
            channel = message["channel"].decode()
            found.append((channel.removeprefix(self._start), message["data"]))
        return found

    def _confirmed(self, what: str) -> None:
        message = self._pubsub.get_message(timeout=_PATIENCE_S)
        assert message is not None, f"no answer to {what}"
        assert message["type"] == what, message
