"""Sets up the systems that we are measured against, each in a virtual environment of its own.

Their dependencies exclude one another, so nothing of theirs gets into the project's .venv. All
lies in one cache folder outside of the checkout; what is there is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMMON = ("redis", "hiredis", "uvloop")
SERVED = ("uvicorn", "httptools", "hiredis", "uvloop")

# The newest release that the index has, but for what is pinned: those have an end of their own.
ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    "floor": COMMON,
    "arq": ("arq", *COMMON),
    "bullmq": ("bullmq", *COMMON),
    "celery": ("celery[redis]", *COMMON),
    "docket": ("pydocket", *COMMON),
    "dramatiq": ("dramatiq[redis]", *COMMON),
    "fast_priority": ("fast-priority==1.1.1", *SERVED),
    "fastapi_queue": ("fastapi-queue==0.1.1", "aioredis==2.0.1", "fastapi", *SERVED),
    "http": ("fastapi", "orjson", *SERVED),
    "huey": ("huey", *COMMON),
    "rq": ("rq", *COMMON),
    "saq": ("saq[hiredis]", "typing_extensions", *COMMON),
    "streaq": ("streaq", *COMMON),
    "taskiq": ("taskiq", "taskiq-redis", "orjson", "msgpack", *COMMON),
}
NODE = ("bullmq", "ioredis")
ALL = (*ENVIRONMENTS, "node", "tools")
TOOLS = ("matplotlib>=3.9", "py-spy>=0.4")
TIMEOUT_S = 600

# aioredis 2.0.1 names one class twice among the bases of another since Python 3.11.
TWICE = "class TimeoutError(asyncio.TimeoutError, builtins.TimeoutError, RedisError)"
ONCE = "class TimeoutError(asyncio.TimeoutError, RedisError)"


def cache() -> Path:
    """Where the environments are."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "peakshaver" / "bench"


def ready(name: str) -> bool:
    """Whether an environment is complete."""
    return _marker(name).is_file()


def _marker(name: str) -> Path:
    """The file that says so; the tools are part of the environment that runs this."""
    return Path(sys.prefix) / ".bench-tools" if name == "tools" else cache() / name / ".ready"


def python(name: str) -> Path:
    """The interpreter of an environment."""
    return cache() / name / "bin" / "python"


def set_up(names: Sequence[str] = ()) -> int:
    """Make what is missing; says each outcome on stderr. 1 where one of them failed."""
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        print(f"no peer {', '.join(unknown)}; there are: {' '.join(ALL)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or ALL:
        if ready(name):
            print(f"{name}: there", file=sys.stderr)
            continue
        special = {"node": _node, "tools": _tools}.get(name)
        problem = special() if special else _environment(name)
        print(f"{name}: {problem or 'made'}", file=sys.stderr)
        if problem:
            failed.append(name)
        else:
            marker = _marker(name)
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
    return 1 if failed else 0


def versions() -> dict[str, str]:
    """Of each system that is set up: the release of its first package."""
    found: dict[str, str] = {}
    code = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"
    for name, packages in ENVIRONMENTS.items():
        if name in ("floor", "http") or not ready(name):
            continue
        package = packages[0].partition("[")[0].partition("==")[0]
        command = [str(python(name)), "-c", code, package]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        found[package] = done.stdout.strip() or "?"
    for package in NODE if ready("node") else ():
        text = (cache() / "node" / "node_modules" / package / "package.json").read_text()
        found[f"{package} (Node)"] = json.loads(text)["version"]
    return found


def _environment(name: str) -> str:
    """An empty string, or what went wrong."""
    interpreter = _interpreter(name)
    if interpreter is None:
        return "left out: it takes Python 3.12 or later on PATH"
    home = cache() / name
    shutil.rmtree(home, ignore_errors=True)
    uv = _uv()
    target = ("--python", str(python(name)))
    if uv:
        steps = [[uv, "venv", "-q", "--python", interpreter, str(home)]]
        steps.append([uv, "pip", "install", "-q", *target, *ENVIRONMENTS[name]])
        if name == "fast_priority":  # wants Python 3.14 by its metadata, not by what it uses
            steps[1] = [uv, "pip", "install", "-q", *target, "pip"]
            pip = [str(python(name)), "-m", "pip", "install", "-q", "--ignore-requires-python"]
            steps.append([*pip, *ENVIRONMENTS[name]])
    else:
        pip = [str(python(name)), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if name == "fast_priority":
            pip.append("--ignore-requires-python")
        steps = [[interpreter, "-m", "venv", str(home)], [*pip, *ENVIRONMENTS[name]]]
    for step in steps:
        if problem := _run(step):
            return problem
    return _mend_aioredis() if name == "fastapi_queue" else ""


def _interpreter(name: str) -> str | None:
    """Our own Python; fast-priority's source is read by Python 3.12 or later only."""
    if name != "fast_priority" or sys.version_info >= (3, 12):
        return sys.executable
    found = (shutil.which(f"python{version}") for version in ("3.14", "3.13", "3.12"))
    return next(filter(None, found), None)


def _mend_aioredis() -> str:
    for path in (cache() / "fastapi_queue").glob(
        "lib/python*/site-packages/aioredis/exceptions.py"
    ):
        path.write_text(path.read_text().replace(TWICE, ONCE))
        return ""
    return "aioredis is not where it was expected"


def _node() -> str:
    if shutil.which("npm") is None:
        return "npm is not installed: Node's BullMQ is left out"
    home = cache() / "node"
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text('{"name": "bench-node", "private": true}\n')
    quiet = ("--no-audit", "--no-fund", "--silent")
    return _run(["npm", "install", *quiet, "--prefix", str(home), *NODE])


def _tools() -> str:
    """The extra `bench`, into the project's own environment."""
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    uv = _uv()
    return _run(
        [*([uv, "pip", "install", "-q", "--python", sys.executable] if uv else pip), *TOOLS]
    )


def _uv() -> str | None:
    """Only a quicker pip."""
    return shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))


def _run(command: Sequence[str]) -> str:
    """An empty string, or the last line of what it said."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    said = (done.stderr or done.stdout).strip().splitlines() or ["no word"]
    return f"failed: {said[-1]}"
