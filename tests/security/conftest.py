"""The stacks of the gateway's tests serve here too."""

from tests.gateway.conftest import _hold_stack, hold, redis, target

__all__ = ["_hold_stack", "hold", "redis", "target"]
