"""The names of fastapi-queue for the tests, without the note on their age."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from pyclient.compat.fastapi_queue import (
        DistributedTaskApplyManager,
        QueueWorker,
        RateLimiter,
        shutdown,
    )
    from pyclient.compat.fastapi_queue.address import address_of
    from pyclient.compat.fastapi_queue.calls import Caller
    from pyclient.compat.fastapi_queue.client import Departure, request_of
    from pyclient.compat.fastapi_queue.gateway import gateway_of
    from pyclient.compat.fastapi_queue.names import route_of
    from pyclient.compat.fastapi_queue.settings import CompatSettings

__all__ = [
    "Caller",
    "CompatSettings",
    "Departure",
    "DistributedTaskApplyManager",
    "QueueWorker",
    "RateLimiter",
    "address_of",
    "gateway_of",
    "request_of",
    "route_of",
    "shutdown",
]
