"""`python -m worker_app [module:worker] [-p N] [-c N]`: worker processes under a supervisor.

Without `module:worker` it serves the built-in route `http`, by the settings of the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from pyclient.collector import calm
from pyclient.errors import ConfigError
from pyclient.settings import Settings, load

from . import logs
from .app import Worker
from .session import HandlerStuck
from .supervisor import MISCONFIGURED, Supervisor
from .watchdog import RECYCLED, Watchdog

log = logging.getLogger("worker_app")
_THREADS_END_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code: 0 ended on request, 1 failed or settings are wrong."""
    args = _parse(sys.argv[1:] if argv is None else argv)
    try:
        settings = load()
        logs.set_up(settings.log, settings.log_level)
        if args.lifeline is not None:
            return _child(args, settings)
        for note in settings.notes:
            log.warning("%s", note)
        processes = args.processes or settings.workers or 1
        return asyncio.run(_supervise(args, settings, processes))
    except ConfigError as error:
        print(f"worker_app: {error}", file=sys.stderr)
        return 1 if args.lifeline is None else MISCONFIGURED


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m worker_app",
        description="Worker processes. Without module:worker: the route http, which forwards "
        "requests to FAST_PRIORITY_TARGET_BASE_URL.",
    )
    parser.add_argument("worker", nargs="?", metavar="module:worker", help="a Worker object")
    parser.add_argument("-p", "--processes", type=_count, metavar="N", help="processes")
    parser.add_argument(
        "-c", "--concurrency", type=_count, metavar="N", help="tasks at one time in a process"
    )
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"expected 1..10000, got {text!r}")
    return int(text)


async def _supervise(args: argparse.Namespace, settings: Settings, processes: int) -> int:
    command = [sys.executable, "-m", "worker_app"]
    if args.worker:
        command.append(args.worker)
    if args.concurrency:
        command += ["-c", str(args.concurrency)]
    return await Supervisor(command, processes, drain_timeout=settings.drain_timeout).run()


def _child(args: argparse.Namespace, settings: Settings) -> int:
    worker = _worker(args.worker, settings)
    if args.concurrency:
        worker.concurrency = args.concurrency
    _bound_drain(worker, settings)
    Watchdog(worker, args.lifeline).start()
    calm()
    code = _serve(worker)
    if _threads_are_left():
        # A thread of a handler is still there, and Python would wait for it.
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    return code


def _threads_are_left() -> bool:
    """Whether one goes on for more than a moment: those that have nothing to do end at once."""
    end = time.monotonic() + _THREADS_END_S
    main = threading.current_thread()
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
    return any(one is not main and not one.daemon for one in threading.enumerate())


def _bound_drain(worker: Worker, settings: Settings) -> None:
    """PEAK_DRAIN_TIMEOUT where it is set; longer than the supervisor waits is of no use."""
    allowed = settings.drain_timeout
    if worker.drain_timeout > allowed:
        log.warning(
            "drain_timeout is %g s, but %g s are allowed here: raise PEAK_DRAIN_TIMEOUT",
            worker.drain_timeout,
            allowed,
        )
    if worker.drain_timeout > allowed or "PEAK_DRAIN_TIMEOUT" in settings.origins:
        worker.drain_timeout = allowed


def _serve(worker: Worker) -> int:
    """Run the worker in a loop of its own until a signal stops it; a further SIGINT at once."""

    def finish() -> None:
        if not worker.stopping:
            worker.stop()

    loop = _new_loop()
    asyncio.set_event_loop(loop)
    loop.add_signal_handler(signal.SIGTERM, finish)
    loop.add_signal_handler(signal.SIGINT, worker.stop)
    try:
        loop.run_until_complete(worker.run())
    except HandlerStuck as error:
        log.error("%s", error)
        return RECYCLED
    except ConfigError:
        raise
    except Exception:
        log.exception("the worker failed")
        return 1
    finally:
        loop.close()  # with the threads that it made for itself
    return 0


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _worker(name: str | None, settings: Settings) -> Worker:
    """The Worker that `module:attribute` names. Raises ConfigError."""
    if name is None:
        from .builtin import make_worker

        return make_worker(settings)
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ConfigError(f"expected module:worker, got {name!r}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(module) from error
        raise ConfigError(
            f"no module {module!r} here ({os.getcwd()}): run it where the module can be imported"
        ) from None
    except AttributeError:
        raise ConfigError(f"{name}: the module has no attribute {attribute!r}") from None
    except Exception as error:
        raise _broken(module) from error
    if not isinstance(found, Worker):
        raise ConfigError(f"{name} is a {type(found).__name__}, expected a worker_app.Worker")
    return found


def _broken(module: str) -> ConfigError:
    traceback.print_exc()
    return ConfigError(f"module {module!r} can't be imported, see above")


if __name__ == "__main__":
    sys.exit(main())
