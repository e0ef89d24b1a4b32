"""The one table that defines every setting: the fields of `Settings`.

Each field says how its text is read, its unit, its default and what it does; its name in the
environment is `FAST_PRIORITY_` or `PEAK_` and the name of the field in capitals.
`settings.load`, `peakshaver config` and docs/reference/settings.md are all made from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, cast

from . import settings_parse as read
from .settings_parse import Network, Parser


@dataclass(frozen=True, slots=True)
class Setting:
    """What the table says about one setting; `shown` is its default as a reader writes it."""

    name: str
    attribute: str
    parse: Parser
    kind: str
    default: object
    shown: str
    doc: str
    secret: bool
    empty: bool
    aliases: tuple[str, ...]


def _setting(
    prefix: str,
    parse: Parser,
    kind: str,
    default: object,
    doc: str,
    *,
    shown: str | None = None,
    secret: bool = False,
    empty: bool = False,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A field of the table. `empty`: an empty value is a value, and not the same as unset."""
    meta = {
        "prefix": prefix,
        "parse": parse,
        "kind": kind,
        "doc": doc,
        "shown": shown,
        "secret": secret,
        "empty": empty,
        "aliases": aliases,
    }
    return field(default=cast(Any, default), repr=not secret, metadata=meta)


_fast = partial(_setting, "FAST_PRIORITY_")
_peak = partial(_setting, "PEAK_")
_SECONDS = "seconds"
_BYTES = "bytes"
_LIST = "comma list"
_PATH = "path"
_COUNT = "number"
_WORD = read.word(r"[A-Za-z0-9_.~/-]{1,64}", "1 to 64 characters of A-Z a-z 0-9 _ . ~ / -")
_PREFIX = read.word(r"[A-Za-z0-9_.~-]{1,64}", "1 to 64 characters of A-Z a-z 0-9 _ . ~ -")
_MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, read and checked. Made by `settings.load`; tests may build one by hand."""

    # fmt: off
    # The target and which of its paths are urgent.
    target_base_url: str | None = _fast(
        read.http_url, "URL", None, "Address of the API behind the line; a path prefix is kept. "
        "The gateway needs it.",
    )
    high_prio_paths: str = _fast(
        read.choice("unlisted", "listed"), "choice", "unlisted",
        "`listed`: the listed paths are high, the rest low; `unlisted`: the other way round.",
    )
    prio_paths: tuple[str, ...] = _fast(
        read.names, _LIST, (), "Listed paths, matched as a whole; with or without leading `/`.",
        empty=True,
    )
    prio_base_paths: tuple[str, ...] = _fast(
        read.names, _LIST, (), "Listed path prefixes: `low` is `low` and `low/…`, not `lowfat`.",
        empty=True,
    )
    pass_through: tuple[str, ...] = _fast(
        read.names, _LIST, ("health",), "Paths that never queue, matched as a whole; setting it "
        "replaces the default.", empty=True,
    )
    normalize_paths: bool = _fast(
        read.boolean, "on/off", True, "Listed and passed-through paths match with and without a "
        "trailing `/`.", shown="1", empty=True,
    )
    ttl: float = _fast(
        read.seconds(0.001, 2_592_000), _SECONDS, 300.0, "Longest time that a request waits in "
        "the line; then 504 (503 where no worker was seen).",
    )
    poll_interval: float = _fast(
        read.seconds(0, 3600), _SECONDS, 1.0, "Taken for compatibility: answers are pushed, "
        "nothing polls for them.",
    )
    # Where the gateway listens, and its own pages.
    host: str = _fast(read.text, "address", "0.0.0.0", "Address that the gateway listens on.")
    port: int = _fast(
        read.integer(0, 65535), _COUNT, 8000, "Port of the gateway; 0 takes a free one.",
    )
    doc_path: str = _fast(read.web_path, _PATH, "/gateway_docs", "The gateway's own docs page.")
    redoc_path: str = _fast(read.web_path, _PATH, "/gateway_redoc", "The gateway's own redoc page.")
    health_path: str = _fast(read.web_path, _PATH, "/gateway_health", "The gateway's health page.")
    workers: int | None = _fast(
        read.integer(1, 1024), _COUNT, None, "Set: `run-fast-priority` is a worker with so many "
        "processes; unset: it is the gateway.", aliases=("FAST_PRIORITY_WORKER",),
    )
    # Redis.
    redis_host: str = _fast(read.text, "address", "localhost", "Host of Redis.")
    redis_port: int = _fast(read.integer(1, 65535), _COUNT, 6379, "Port of Redis.")
    redis_user: str | None = _fast(read.text, "text", None, "User (ACL) for Redis.")
    redis_password: str | None = _fast(read.text, "text", None, "Password for Redis.", secret=True)
    redis_url: str | None = _peak(
        read.redis_url, "URL", None, "Address of Redis or Valkey: `redis://` `rediss://` "
        "`unix://` `redis+sentinel://` `redis+cluster://` `embedded://[DIR]`. Wins over "
        "`FAST_PRIORITY_REDIS_*`.", shown="from `FAST_PRIORITY_REDIS_*`", secret=True,
    )
    durability: str | None = _peak(
        read.durability, "choice", None, "What Redis has to keep of what it acknowledged, checked "
        "at the start: `memory`, `aof`, `replicated` or `replicated:N` (N replicas).",
        shown="nothing demanded",
    )
    prefix: str = _peak(_PREFIX, "text", "peak", "First part of every key in Redis.")
    queue: str = _peak(_WORD, "text", "default", "Name of the queue.")
    shards: int = _peak(
        read.integer(1, 64), _COUNT, 1, "Parts of the queue, spread over the nodes of a Cluster; "
        "the same for all gateways and workers. To change it: close, drain, restart all.",
    )
    # The line.
    mode: str = _peak(
        read.choice("worker", "hold"), "choice", "worker", "`worker`: worker processes call the "
        "target, answers are buffered. `hold`: the gateway waits for its turn and calls the "
        "target itself, streaming both ways.",
    )
    lease: float = _peak(
        read.seconds(0.1, 3600), _SECONDS, 15.0, "How soon the work of a dead worker or gateway "
        "is taken back.",
    )
    max_queue: int = _peak(
        read.integer(0, 100_000_000), _COUNT, 10_000, "Requests that may wait in the whole "
        "queue; beyond it: 503 at once. 0: no limit.",
    )
    concurrency: int | None = _peak(
        read.integer(1, 1_000_000), _COUNT, None, "Requests at the target at one time, over all "
        "workers or gateways.", shown="no limit",
    )
    worker_concurrency: int = _peak(
        read.integer(1, 10_000), _COUNT, 1, "Requests that one worker process runs at one time.",
    )
    level_step: float | None = _peak(
        read.step, "seconds or `strict`", None, "Seconds of waiting that lift a low request over "
        "a high one. `strict`: never.", shown="strict",
    )
    upstream_timeout: float = _peak(
        read.seconds(0.001, 2_592_000), _SECONDS, 60.0, "Longest time from the call of the "
        "target to the end of its answer; then 504.",
    )
    connect_timeout: float = _peak(
        read.seconds(0.001, 3600), _SECONDS, 2.0,
        "Longest time to connect to the target; then 502.",
    )
    target_ca: str | None = _peak(
        read.pem_file, "path", None, "PEM file of the certificates that vouch for an `https://` "
        "target, in place of those of the system.", shown="the system's",
    )
    drain_timeout: float = _peak(
        read.seconds(0, 86400), _SECONDS, 25.0, "Time that SIGTERM leaves for what runs.",
    )
    # Limits of one request.
    max_body: int = _peak(
        read.size(0, 1024**3), _BYTES, 10 * _MB, "Longest request body; then 413.", shown="10MiB",
    )
    max_response: int = _peak(
        read.size(1024, 1024**3), _BYTES, 10 * _MB,
        "Longest answer that is buffered in worker mode; then 502.", shown="10MiB",
    )
    max_header_bytes: int = _peak(
        read.size(1024, _MB), _BYTES, 32 * 1024, "All request headers together; then 431.",
        shown="32KiB",
    )
    max_headers: int = _peak(
        read.integer(10, 10_000), _COUNT, 100, "Header lines of a request; then 431.",
    )
    max_url: int = _peak(
        read.size(256, _MB), _BYTES, 8 * 1024, "Path and query; then 414.", shown="8KiB",
    )
    client_timeout: float = _peak(
        read.seconds(0.1, 3600), _SECONDS, 10.0, "Longest time for the headers of a request, and "
        "between two parts of its body; then 408.",
    )
    # Header rules.
    preserve_host: bool = _peak(
        read.boolean, "on/off", False, "Send the client's Host to the target and not the "
        "target's own.", shown="0",
    )
    trusted_proxies: tuple[Network, ...] = _peak(
        read.networks, "networks", (), "Peers whose X-Forwarded-Proto, -Host, X-Real-IP, "
        "Forwarded and Priority are believed.", empty=True,
    )
    priority_header: bool = _peak(
        read.boolean, "on/off", False, "Take the level from `Priority: u=0…7` (RFC 9218) of "
        "trusted proxies.", shown="0",
    )
    allowed_hosts: tuple[str, ...] = _peak(
        read.names, _LIST, (), "Host names that are answered, others get 400; none: all.",
        empty=True,
    )
    follow_redirects: int = _peak(
        read.integer(0, 20), _COUNT, 0, "Redirects within the target that are followed; 0: they "
        "are the client's business.",
    )
    # Processes and logs.
    gateway_workers: int = _peak(
        read.integer(1, 1024), _COUNT, 1, "Processes of the gateway (`-w`).",
    )
    log: str = _peak(
        read.choice("auto", "text", "json"), "choice", "auto",
        "Form of log lines; `auto` is JSON where the output is no terminal.",
    )
    log_level: str = _peak(
        read.choice("debug", "info", "warning", "error"), "choice", "info",
        "Least severe lines that are written.",
    )
    access_log: str = _peak(
        read.choice("none", "errors", "all"), "choice", "errors",
        "Which requests are logged; `errors` are answers of the gateway itself with 4xx and 5xx.",
    )
    # fmt: on

    # Not settings: what `load` learned on the way.
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()


def _row(item: Any) -> Setting:
    meta = dict(item.metadata)
    value = item.default
    if meta["shown"] is None:
        text = ",".join(value) if isinstance(value, tuple) else value
        meta["shown"] = (
            "" if text is None else f"{text:g}" if isinstance(text, float) else str(text)
        )
    name = meta.pop("prefix") + item.name.upper()
    return Setting(name=name, attribute=item.name, default=value, **meta)


TABLE: tuple[Setting, ...] = tuple(_row(item) for item in fields(Settings) if item.metadata)
"""Every setting in the order in which it is documented."""
