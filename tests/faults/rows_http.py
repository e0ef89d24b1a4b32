"""Rows 10–13, 49, 56, 57: gateways, their clients, and the API behind them."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

from tests.servers import Server, free_ports, valkey

from .processes import port_of
from .rows import Row, Trial
from .stand import Stand
from .waiting import until_done

_SLOW = 200


def gateway_kill(trial: Trial) -> None:
    """kill -9 of a gateway with everybody who waits at it; another one starts on its port."""
    with _house(trial) as (_, stand, ports):
        stand.browse(rate=50, ms=(50, 600), deadline_s=95)
        for index in range(trial.repeat):
            until_done(stand)
            time.sleep(0.5)
            victim = stand.gateways[0]
            with stand.broken("gateway-kill", victim.name):
                victim.kill()
            stand.drop(victim)
            stand.gateway(FAST_PRIORITY_PORT=str(ports[index % 2]))
        trial.judge(stand, order=False, doubles_by=())


def gateway_stop(trial: Trial) -> None:
    """A gateway stands still for five seconds, longer than it counts as alive: what it owned is
    answered or taken out of the line; never lost, never answered wrongly."""
    with _house(trial) as (_, stand, _):
        stand.browse(rate=40, ms=(50, 600), deadline_s=95)
        for _ in range(trial.repeat):
            until_done(stand)
            with stand.stopped(stand.gateways[0]):
                time.sleep(5)
        report = trial.judge(stand, order=False, doubles_by=(), words=("cancelled",))
        ends = ", ".join(f"{report.said.get(word, 0)} {word}" for word in ("done", "cancelled"))
        trial.note(ends)


def clients_leave(trial: Trial) -> None:
    """Three of ten clients go before their answer: no waiter and no file descriptor stays."""
    with _house(trial) as (_, stand, _):
        gateway = stand.gateways[0]
        stand.browse(rate=60, ms=(50, 400), deadline_s=95, mix={"get": 7, "leave": 3})
        until_done(stand)
        for _ in range(trial.repeat):
            time.sleep(2)
        stand.rest()
        time.sleep(0.5)
        files = gateway.files()
        _get(port_of(gateway), "/gateway_ready")
        trial.note(f"{files} file descriptors at rest")
        trial.expect(that=files < 30, what=f"{files} file descriptors at rest")
        report = trial.judge(stand, order=False, doubles_by=())
        trial.expect(that=report.said.get("cancelled", 0) > 0, what="nobody left in time")


def slow_clients(trial: Trial) -> None:
    """Two hundred clients that send a byte a second: cut off by the time-out, others are served."""
    with _house(trial, PEAK_CLIENT_TIMEOUT="3") as (_, stand, _):
        stand.browse(rate=30, ms=(5, 50), deadline_s=95)
        port = port_of(stand.gateways[0])
        for _ in range(trial.repeat):
            until_done(stand)
            slow = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(_SLOW)]
            end = time.monotonic() + 5
            for step in range(4):
                for one in slow:
                    with contextlib.suppress(OSError):
                        one.sendall(b"GET /slow HTTP/1.1\r\n"[step : step + 1])
                time.sleep(1)
            time.sleep(max(0.0, end - time.monotonic()))
            left = sum(_open(one) for one in slow)
            trial.expect(that=left == 0, what=f"{left} of {_SLOW} slow clients are still connected")
            for one in slow:
                one.close()
            until_done(stand)
        trial.judge(stand, order=False, doubles_by=())


def backend_hangs(trial: Trial) -> None:
    """The API stands still: answers of 504 in time, and every slot is free afterwards."""
    with _house(trial, PEAK_UPSTREAM_TIMEOUT="2") as (_, stand, _):
        backend = stand.children[0]
        stand.browse(rate=20, ms=(5, 100), deadline_s=33)
        for _ in range(trial.repeat):
            until_done(stand)
            backend.send(signal.SIGSTOP)
            time.sleep(5)
            backend.send(signal.SIGCONT)
            until_done(stand)
        report = trial.judge(stand, order=False, doubles_by=())
        trial.expect(that=report.said.get("unavailable", 0) > 0, what="nobody noticed")


def flush_behind(trial: Trial) -> None:
    """FLUSHALL under gateways: 503 within two seconds for everybody who waits."""
    with _house(trial) as (server, stand, _):
        stand.browse(rate=40, ms=(100, 800), deadline_s=95)
        for _ in range(trial.repeat):
            until_done(stand)
            time.sleep(1)
            with stand.broken("wiped"):
                server.client().flushall()
            until_done(stand)
        wiped = ("wiped",)
        trial.judge(
            stand, order=False, lost_by=wiped, doubles_by=wiped, sometimes=("loss said aloud",)
        )


def kill_behind(trial: Trial) -> None:
    """Workers die behind the gateway: GET is tried a second time, POST never runs twice."""
    with _house(trial) as (_, stand, _):
        stand.browse(rate=40, ms=(50, 600), deadline_s=95, mix={"get": 1, "post": 1})
        for _ in range(trial.repeat):
            until_done(stand)
            stand.kill(stand.workers[0])
            stand.forwarder()
        trial.judge(stand, order=False, sometimes=("leased again",))
        posts = [task for task in stand.stories().tasks.values() if task.kind == "post"]
        twice = [task.n for task in posts if len(task.effects) > 1]
        gone = sum(task.word == "lost" for task in posts)
        trial.note(f"{len(posts)} POST, {gone} answered 502 (its worker vanished)")
        trial.expect(that=not twice, what=f"POST ran twice: {twice[:5]}")


@contextlib.contextmanager
def _house(trial: Trial, **env: str) -> Iterator[tuple[Server, Stand, list[int]]]:
    """Two gateways on fixed ports and two forwarding workers."""
    ports = free_ports(2)
    with valkey() as server, trial.stand(server, env=env) as stand:
        for port in ports:
            stand.gateway(FAST_PRIORITY_PORT=str(port))
        for _ in range(2):
            stand.forwarder()
        yield server, stand, ports


def _open(sock: socket.socket) -> bool:
    """Whether the other side still keeps it; an answer that says why it ends does not count."""
    sock.settimeout(0.05)
    try:
        while sock.recv(4096):
            pass
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


def _get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        return sock.recv(65536)


ROWS = (
    Row(10, "gateway kill -9 with its waiters", "S", (0, 10, 100), gateway_kill),
    Row(11, "gateway frozen for 5 s", "S", (0, 5, 50), gateway_stop),
    Row(12, "3 of 10 HTTP clients leave (2 s each)", "S", (0, 5, 50), clients_leave),
    Row(13, "200 clients of 1 byte a second", "S", (0, 5, 20), slow_clients),
    Row(49, "API behind the gateway hangs 5 s", "S", (0, 5, 20), backend_hangs),
    Row(56, "FLUSHALL behind gateways", "S", (0, 5, 20), flush_behind),
    Row(57, "worker kill -9 behind gateways", "S", (0, 20, 100), kill_behind),
)
