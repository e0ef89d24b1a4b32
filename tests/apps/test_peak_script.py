"""`./peak` on machines of all kinds: stubs of python, uv, uname and ldd stand in for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOLS = ("sh", "cat", "cksum", "cp", "dirname", "mkdir", "rm", "sleep")

# Answers what ./peak asks of an interpreter, and notes the calls that change something.
PYTHON = r"""#!/bin/sh
case "$*" in
  -V) echo "Python ${VERSION:-3.12.1}" ;;
  *"sys.exit(sys.version_info"*) exit "${TOO_OLD:-0}" ;;
  *"import ensurepip"*) exit "${BARE:-0}" ;;
  *version_info*) echo 3.12 ;;
  "-m pip --version") ;;
  "-m venv "*)
    echo "${0##*/} $*" >>"$CALLS"
    mkdir -p "$3/bin"
    cp "$0" "$3/bin/python"
    printf '#!/bin/sh\necho "ran $*"\nexit "${CODE:-0}"\n' >"$3/bin/peakshaver"
    chmod 755 "$3/bin/peakshaver" ;;
  "-m pip "*) echo "pip $*" >>"$CALLS"; sleep "${SLOW:-0}"; exit "${PIP:-0}" ;;
  *) echo "python $*" ;;
esac
"""
UV = r"""#!/bin/sh
echo "uv $*" >>"$CALLS"
case "$1" in
  venv) [ "${UV_FAILS:-0}" = 0 ] && for last in "$@"; do :; done && "$STUBS/real" -m venv "$last" ;;
esac
"""


class Machine:
    """A checkout and a PATH with nothing but what the test puts there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "a checkout", folder / "bin"
        self.root.mkdir()
        self.bin.mkdir()
        shutil.copy(ROOT / "peak", self.root)
        (self.root / "pyproject.toml").write_text("[project]\n")
        for tool in (*TOOLS, "chmod"):
            found = shutil.which(tool)
            assert found is not None
            (self.bin / tool).symlink_to(found)
        self.says(
            "uname", 'case $1 in -s) echo "${OS:-Linux}" ;; -m) echo "${CPU:-x86_64}" ;; esac'
        )
        self.says("ldd", 'echo "${LIBC:-ldd (GNU libc) 2.36}" >&2; exit 1')
        self.calls_file = folder / "calls"
        self.calls_file.touch()
        self.environment = {
            "PATH": str(self.bin),
            "CALLS": str(self.calls_file),
            "STUBS": str(self.bin),
        }

    def says(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def peak(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "peak", *words],
            env={**self.environment, **environment},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Linux with Python 3.12 and nothing else."""
    one = Machine(tmp_path)
    one.says("python3.12", PYTHON)
    return one


def test_the_first_start_makes_an_environment_from_wheels_and_runs(machine: Machine) -> None:
    said = machine.peak("demo", "--seconds", "5", "two words")
    assert said.returncode == 0, said.stderr
    assert said.stdout == "ran demo --seconds 5 two words\n"
    venv, pip = machine.calls()
    assert venv == f"python3.12 -m venv {machine.root}/.venv"
    assert "--only-binary :all:" in pip
    assert pip.endswith("-e .[all,dev]")


def test_the_second_start_installs_nothing_and_is_quick(machine: Machine) -> None:
    machine.peak("setup")
    before = machine.calls()
    begun = time.monotonic()
    said = machine.peak("up", "http://localhost:1")
    assert time.monotonic() - begun < 2
    assert said.stdout == "ran up http://localhost:1\n"
    assert said.stderr == ""
    assert machine.calls() == before


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.peak("setup")
    (machine.root / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    machine.peak("setup")
    assert [call.split()[0] for call in machine.calls()] == ["python3.12", "pip", "pip"]


def test_another_python_behind_the_environment_is_noticed(machine: Machine) -> None:
    machine.peak("setup")
    machine.peak("setup", VERSION="3.12.9")
    assert len(machine.calls()) == 3


def test_a_checkout_that_was_moved_is_installed_again(machine: Machine) -> None:
    machine.peak("setup")
    machine.root = machine.root.rename(machine.root.with_name("moved"))
    machine.peak("setup")
    assert len(machine.calls()) == 3


def test_the_exit_code_is_the_verbs(machine: Machine) -> None:
    assert machine.peak("demo", CODE="3").returncode == 3


def test_the_tests_run_by_their_own_runner(machine: Machine) -> None:
    said = machine.peak("test", "--full", "-k", "lease")
    assert said.stdout == f"python {machine.root}/tests/run.py --full -k lease\n"


def test_a_shim_that_does_not_run_is_passed_over(machine: Machine) -> None:
    machine.says("python3.14", 'echo "pyenv: python3.14: command not found" >&2; exit 127')
    assert machine.peak("setup").returncode == 0
    assert machine.calls()[0].startswith("python3.12 ")


def test_an_old_python_is_not_taken(machine: Machine) -> None:
    said = machine.peak("setup", TOO_OLD="1")
    assert said.returncode == 1
    assert "no Python >= 3.11 and no uv" in said.stderr


def test_a_python_without_ensurepip_says_what_to_install(machine: Machine) -> None:
    said = machine.peak("setup", BARE="1")
    assert said.returncode == 1
    assert "apt install python3.12-venv" in said.stderr
    assert not (machine.root / ".venv").exists()


def test_uv_is_preferred(machine: Machine) -> None:
    machine.says("real", PYTHON)
    machine.says("uv", UV)
    assert machine.peak("setup").returncode == 0
    made, _, installed = machine.calls()
    assert made == f"uv venv -q --python >=3.11 {machine.root}/.venv"
    assert installed.startswith("uv pip install")
    assert "--only-binary :all:" in installed


def test_where_uv_finds_no_python_one_on_path_is_taken(machine: Machine) -> None:
    machine.says("uv", UV)
    assert machine.peak("setup", UV_FAILS="1").returncode == 0
    assert machine.calls()[1].startswith("python3.12 -m venv")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ({"LIBC": "musl libc (x86_64)"}, "musl"),
        ({"OS": "MINGW64_NT-10.0"}, "Windows"),
        ({"OS": "FreeBSD"}, "FreeBSD"),
        ({"CPU": "riscv64"}, "riscv64"),
    ],
)
def test_without_a_wheel_of_the_server_it_asks_for_one_before_it_installs(
    machine: Machine, names: dict[str, str], why: str
) -> None:
    said = machine.peak("demo", **names)
    assert said.returncode == 2
    assert "no wheel for" in said.stderr
    assert why in said.stderr
    assert "PEAK_REDIS_URL=redis://" in said.stderr
    assert machine.calls() == []


def test_with_a_server_given_it_goes_on_without_the_wheel(machine: Machine) -> None:
    said = machine.peak("demo", LIBC="musl libc", PEAK_REDIS_URL="redis://there")
    assert said.stdout == "ran demo\n"
    assert machine.calls()[1].endswith("-e .[gateway,worker,dev]")


def test_with_a_server_on_path_it_goes_on_without_the_wheel(machine: Machine) -> None:
    machine.says("redis-server", "exit 0")
    assert machine.peak("demo", LIBC="musl libc").returncode == 0


def test_a_failed_install_is_tried_again_next_time(machine: Machine) -> None:
    said = machine.peak("demo", PIP="1")
    assert said.returncode == 1
    assert "installing failed" in said.stderr
    assert said.stdout == ""
    assert not (machine.root / ".venv.lock").exists()
    assert machine.peak("demo").stdout == "ran demo\n"


def test_two_first_starts_make_one_environment(machine: Machine) -> None:
    starts = [
        subprocess.Popen(
            [machine.root / "peak", "demo"],
            env={**machine.environment, "SLOW": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    assert [one.communicate(timeout=60)[0] for one in starts] == ["ran demo\n"] * 2
    assert len(machine.calls()) == 2


def test_the_lock_of_a_killed_start_is_taken_over(machine: Machine) -> None:
    (machine.root / ".venv.lock").mkdir()
    (machine.root / ".venv.lock" / "pid").write_text("999999999")
    assert machine.peak("demo").stdout == "ran demo\n"


def test_help_is_for_those_who_ask_and_an_error_for_those_who_do_not(machine: Machine) -> None:
    asked, none, wrong = machine.peak("--help"), machine.peak(), machine.peak("dmeo")
    assert (asked.returncode, none.returncode, wrong.returncode) == (0, 2, 2)
    assert "./peak demo" in asked.stdout
    assert none.stdout == wrong.stdout == ""
    assert "no verb 'dmeo'" in wrong.stderr
    assert machine.calls() == []


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_clone_sets_itself_up(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    call = {"cwd": "/", "stdin": subprocess.DEVNULL, "check": True}
    subprocess.run([clone / "peak", "setup"], env=os.environ, **call)  # type: ignore[call-overload]
    for name in ("peakshaver", "run-fast-priority", "pytest"):
        assert os.access(clone / ".venv" / "bin" / name, os.X_OK)
    begun = time.monotonic()
    subprocess.run([clone / "peak", "setup"], env=os.environ, **call)  # type: ignore[call-overload]
    assert time.monotonic() - begun < 2
