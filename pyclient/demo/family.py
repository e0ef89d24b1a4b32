"""Child processes that end with this one, also when it is killed.

    async with Family() as family:
        api = await family.start("api", [sys.executable, "-m", "pyclient.demo.backend"])
        await family.stop(api)

Each child leads a session of its own: Ctrl-C on the terminal reaches the owner alone, which then
ends them in its own order. Their output goes to files of a directory that lives as long.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

from pyclient.errors import PeakError

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_LOOK_S = 0.01
Output = Literal["log", "pipe", "relay"]


class ChildEnded(PeakError):
    """A process that should run has ended; the message has its last words."""


class Child:
    """One process of the family."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path | None) -> None:
        self.name = name
        self.process = process
        self.log = log
        self.pid = process.pid

    @property
    def running(self) -> bool:
        """Whether its leader lives."""
        return self.process.returncode is None

    def tail(self) -> str:
        """The end of what it said."""
        if self.log is None:
            return "its words are above"
        with contextlib.suppress(OSError):
            lines = self.log.read_text(errors="replace").splitlines()[-8:]
            return "\n    ".join(lines) or "it said nothing"
        return "its log is gone"

    def check(self) -> None:
        """Raise ChildEnded unless it runs."""
        if not self.running:
            code = self.process.returncode
            raise ChildEnded(f"the {self.name} ended with exit code {code}:\n    {self.tail()}")


class Family:
    """The children of one command; leaving it ends all, the last started first."""

    def __init__(self, *, grace_s: float = 10.0) -> None:
        self._grace_s = grace_s
        self._children: list[Child] = []
        self.home = Path()

    async def __aenter__(self) -> Family:
        self.home = Path(tempfile.mkdtemp(prefix="peak-demo-"))
        reading, self._pipe = os.pipe()
        try:
            self._warden = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", str(_HERE / "warden.py")),
                cwd="/",
                start_new_session=True,
                stdin=reading,
                stdout=subprocess.DEVNULL,
            )
        finally:
            os.close(reading)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for child in reversed(self._children.copy()):
                await self.stop(child)
        finally:
            os.close(self._pipe)  # the warden ends what is left even now
            await self._warden.wait()
            shutil.rmtree(self.home, ignore_errors=True)

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: Output = "log",
    ) -> Child:
        """Start one. `output`: all to a file of its own; stdout by a pipe and the rest to the
        file; or all by a pipe, for whoever relays it."""
        log = None if output == "relay" else self.home / f"{name}.log"
        with contextlib.ExitStack() as stack:
            said = stack.enter_context(log.open("ab")) if log else subprocess.STDOUT
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", str(_HERE / "shim.py"), str(self._pipe), *command),
                cwd=cwd or self.home,
                env=child_environment(env or {}),
                pass_fds=(self._pipe,),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=said if output == "log" else subprocess.PIPE,
                stderr=said,
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    async def stop(self, child: Child, *, grace_s: float | None = None) -> int:
        """SIGTERM, a grace, SIGKILL to the whole group; returns the exit code of its leader."""
        if child in self._children:
            self._children.remove(child)
        with contextlib.suppress(ProcessLookupError):
            child.process.terminate()
        try:
            async with asyncio.timeout(self._grace_s if grace_s is None else grace_s):
                # Not `wait`: that also waits for the pipes, which a grandchild may hold.
                while child.running:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            os.write(self._pipe, b"-%d\n" % child.pid)
        return await child.process.wait()


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours without our settings (the child gets those that it needs), and with a path to this
    code where it is not installed. A `queue.py` of the working directory is not to be imported."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PEAK_", "FAST_PRIORITY_"))
    }
    if (_ROOT / "pyproject.toml").is_file():
        paths = [str(_ROOT), env.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return {**env, "PYTHONSAFEPATH": "1", **more}
