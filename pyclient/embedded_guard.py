"""Stands between an owner and its embedded server, so that the server ends with the owner.

Run as a script in an isolated interpreter, never imported:

    python -I -S embedded_guard.py DIRECTORY_TO_REMOVE BINARY [ARGUMENT …]

Standard input is a pipe whose other end only the owner and its forks hold: first the length of
the server's configuration and a newline, then the configuration, then nothing until its end,
which says that the last of them is gone, however it went. Standard output is a pipe too: the
server's process id, then nothing until its end, which says that the server is gone. The server
is a child of the guard, so that its id can't come to mean another process.
"""

import ctypes
import os
import select
import signal
import sys
import time

GRACE_S = 3.0
PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def read(count: int) -> bytes:
    """So many bytes of standard input."""
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            raise SystemExit("the owner was gone before it said what to start")
        data += part
    return data


def read_config() -> bytes:
    """The configuration; it is in no file, argument or environment variable."""
    head = b""
    while not head.endswith(b"\n"):
        head += read(1)
    return read(int(head))


def spawn(binary: str, arguments: list[str], config: bytes) -> int:
    """Start the server with the configuration on its standard input."""
    reading, writing = os.pipe()
    os.write(writing, config)  # fits into the pipe: the owner sees to that
    os.close(writing)
    guard = os.getpid()
    # A signal that came between fork and exec would reach our handlers, and be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.close(reading)
        return pid
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        os.dup2(reading, 0)
        os.dup2(2, 1)
        if sys.platform == "linux":
            # Should the guard itself be killed. It has one thread, so the signal is about that.
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == guard:
            os.execv(binary, [binary, *arguments])
    except OSError as error:
        os.write(2, f"{binary}: {error}\n".encode())
    os._exit(127)


def gone(pid: int) -> bool:
    """Whether the server has ended; reaps it."""
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def end(pid: int, wake: int) -> None:
    """Ask the server to stop, so that it writes what it holds; then make it."""
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + GRACE_S
    while not gone(pid):
        left = until - time.monotonic()
        if left <= 0:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        if select.select([wake], [], [], left)[0]:
            os.read(wake, 512)


def remove(directory: str) -> None:
    """Delete a private directory; what is gone already is no matter."""
    for root, folders, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(os.path.join(root, name))
        for name in folders:
            os.rmdir(os.path.join(root, name))
    os.rmdir(directory)


def watch(binary: str, arguments: list[str]) -> None:
    """Run the server until it is to end, or until its owner is gone."""
    stopping: list[int] = []
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in ENDING:
        signal.signal(number, lambda number, _: stopping.append(number))
    pid = spawn(binary, arguments, read_config())
    alive = True
    try:
        os.write(1, f"{pid}\n".encode())
        while not stopping:
            ready = select.select([0, wake], [], [])[0]
            if 0 in ready and not os.read(0, 512):
                break
            if wake in ready:
                os.read(wake, 512)
                if alive and gone(pid):
                    alive = False
                    os.close(1)  # tells the owner
    except BrokenPipeError:
        pass  # the owner was gone as soon as it had said what to start
    finally:
        if alive:
            end(pid, wake)


def main(directory: str, binary: str, arguments: list[str]) -> None:
    """Watch, then clean up."""
    try:
        watch(binary, arguments)
    finally:
        if directory:
            remove(directory)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
