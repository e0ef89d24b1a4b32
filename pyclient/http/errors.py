"""What can go wrong with an upstream.

UpstreamError
 ├─ UpstreamConnectError   no connection; nothing was sent       502
 ├─ UpstreamTimeout        no complete answer in time            504
 ├─ UpstreamBroke          closed, or not HTTP                   502
 ├─ ResponseTooLarge       body above the limit of the buffer    502
 └─ BadEnvelope            what came from the queue is malformed 502
"""

from __future__ import annotations

from pyclient.errors import PeakError


class UpstreamError(PeakError):
    """No usable answer; `kind` is the word that travels in an envelope, `status` the answer's."""

    kind = "broke"
    status = 502


class UpstreamConnectError(UpstreamError):
    """The target could not be reached; nothing of the request was sent."""

    kind = "connect"


class UpstreamTimeout(UpstreamError):
    """The target did not answer in time; whether it acted on the request is unknown."""

    kind = "timeout"
    status = 504


class UpstreamBroke(UpstreamError):
    """The target closed the connection early, or sent what is not HTTP."""


class ResponseTooLarge(UpstreamError):
    """The body is longer than what may be buffered."""

    kind = "large"


class BadEnvelope(UpstreamError):
    """Bytes from the queue that are no envelope, or would break the framing if sent on."""

    kind = "envelope"
