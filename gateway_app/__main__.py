"""`python -m gateway_app [-w N] [--host HOST] [--port PORT]`: the gateway as a process."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import socket
import sys
import threading

from pyclient.errors import ConfigError
from pyclient.settings import Settings, load

from .app import create_app
from .logs import LOGGER, fields, setup
from .processes import Supervisor, address_of, listen
from .server import Server, make_config


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; 0 after a drain, 1 where a setting is wrong."""
    options = _parse(arguments)
    try:
        settings = load()
        if options.host is not None:
            settings = dataclasses.replace(settings, host=options.host)
        if options.port is not None:
            settings = dataclasses.replace(settings, port=options.port)
        count = options.workers or settings.gateway_workers
        setup(settings)
        return _run(settings, count, options.fd, options.parent_fd)
    except ConfigError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gateway_app",
        description="A reverse proxy that puts requests in a line. Settings are environment "
        "variables; see `peakshaver config docs`.",
    )
    parser.add_argument("-w", "--workers", type=_positive, help="processes (PEAK_GATEWAY_WORKERS)")
    parser.add_argument("--host", help="address to listen on (FAST_PRIORITY_HOST)")
    parser.add_argument("--port", type=_port, help="port to listen on (FAST_PRIORITY_PORT)")
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1024:
        raise argparse.ArgumentTypeError(f"expected 1 to 1024, got {text}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"expected 0 to 65535, got {text}")
    return number


def _run(settings: Settings, count: int, fd: int | None, parent_fd: int | None) -> int:
    app = create_app(settings)
    sock = listen(settings) if fd is None else socket.socket(fileno=fd)
    log = logging.getLogger(LOGGER)
    if fd is None:
        log.info("gateway listens", extra=fields(url=address_of(sock), processes=count))
    if fd is None and count > 1:
        return Supervisor(settings, sock, count).run()
    server = Server(make_config(app, settings), settings)
    server.on_drain = app.shared.drain
    if parent_fd is not None:
        server.has_parent = True
        _end_with_parent(server, parent_fd)
    try:
        server.run([sock])
    except KeyboardInterrupt:
        pass  # a second Ctrl-C while the loop is being closed
    return 0 if server.started else 3


def _end_with_parent(server: Server, parent_fd: int) -> None:
    """Drain when the pipe that only the parent holds open ends."""

    def wait() -> None:
        os.read(parent_fd, 1)
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main())
