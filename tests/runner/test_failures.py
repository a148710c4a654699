"""Every failure of run.py is one line that says what to do, and an exit code that is not zero."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import Checkout

from tools.setup import cache, failures

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="there is no Wine there")


def assert_one_error(done: subprocess.CompletedProcess[str], *wanted: str) -> None:
    """Assert that a run failed with one line of error, the last, in which the texts occur."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("run.py: error: ")]
    assert done.returncode != 0
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == errors[0]
    assert [text for text in wanted if text not in errors[0]] == [], errors[0]


def programs(folder: Path, **scripts: str) -> str:
    """Make a folder of shell scripts and return a PATH that finds them before anything else."""
    folder.mkdir()
    for name, script in scripts.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("version", "wanted"),
    [
        ("banana", "not a version"),
        ("2.7", "not a version"),
        ("3.10", "needs Python 3.11 or later"),
        ("3.12t", "free-threaded builds begin with 3.13t"),
    ],
)
def test_version_that_cannot_be(empty_checkout: Checkout, version: str, wanted: str) -> None:
    """A version that pyiocp cannot have is refused before anything is set up."""
    assert_one_error(empty_checkout.run("--python", version, "python"), wanted)
    assert not empty_checkout.cache.exists()


def test_unknown_command(empty_checkout: Checkout) -> None:
    """A command that is not there is answered with those that are."""
    assert_one_error(empty_checkout.run("tset"), "'tset'", "demo, test")


def test_version_without_a_value(empty_checkout: Checkout) -> None:
    """--python at the end of the line says what is lacking."""
    assert_one_error(empty_checkout.run("test", "--python"), "--python needs a version")


@not_on_windows
def test_no_standard_library(empty_checkout: Checkout) -> None:
    """A version that is not on this machine is an error that says where it was looked for."""
    done = empty_checkout.run("--python", "3.99", "python", "-c", "pass")
    assert_one_error(done, "no standard library of Python 3.99", "on PATH", "/usr/lib")


@not_on_windows
def test_no_wheel_for_this_version(empty_checkout: Checkout) -> None:
    """A version that the wheel does not exist for is an error that names the wheel."""
    stdlib = empty_checkout.root / "stdlib"
    for name in ("os.py", "asyncio/windows_events.py", "ctypes/wintypes.py"):
        (stdlib / name).parent.mkdir(exist_ok=True, parents=True)
        (stdlib / name).touch()
    path = programs(empty_checkout.root / "bin", **{"python3.99": f"echo {stdlib}"})
    done = empty_checkout.run("--python", "3.99", "python", "-c", "pass", PATH=path)
    assert_one_error(done, "panda3d", "no such package or version")


@not_on_windows
def test_no_network(empty_checkout: Checkout) -> None:
    """A package registry that does not answer is called that."""
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    done = empty_checkout.run("python", "-c", "pass", **closed, PIP_CONFIG_FILE=os.devnull)
    assert_one_error(done, "fetching Windows CPython", "no network")


@not_on_windows
def test_wine_is_missing_and_cannot_be_installed(empty_checkout: Checkout) -> None:
    """Without Wine and without apt-get, the error names the packages to install."""
    done = empty_checkout.run("python", "-c", "pass", PATH=str(empty_checkout.root))
    assert_one_error(done, "not installed: wine wine64", "apt-get install wine wine64")


@not_on_windows
def test_apt_get_fails(empty_checkout: Checkout) -> None:
    """What apt-get said last is in the error."""
    path = programs(
        empty_checkout.root / "bin",
        apt_get="echo some words; echo 'E: Unable to locate package wine' >&2; exit 100",
        sudo='test "$1" = -n && shift; exec "$@"',
        env='shift; exec "$@"',
        id="echo 0",
        dpkg="exit 0",
        true="exit 0",
    )
    done = empty_checkout.run("python", "-c", "pass", PATH=path.partition(os.pathsep)[0])
    assert_one_error(done, "apt-get", "Unable to locate package wine", "exit code 100")


@not_on_windows
def test_wine_crashes(make_checkout: Callable[[str], Checkout]) -> None:
    """A Wine that dies is named, with its last words."""
    checkout = make_checkout("crash")
    path = programs(
        checkout.root / "bin",
        wine="echo 'wine: could not exec the wine loader' >&2; exit 134",
        wineserver="exit 0",
    )
    done = checkout.run("python", "-c", "pass", PATH=path)
    assert_one_error(done, "Wine fails", "could not exec the wine loader", "exit code 134")


@not_on_windows
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write to")
def test_cache_that_cannot_be_written(empty_checkout: Checkout) -> None:
    """A cache folder that cannot be made is one line, too."""
    done = empty_checkout.run("python", "-c", "pass", PYIOCP_CACHE="/proc/no/such")
    assert_one_error(done, "/proc/no")


def test_no_disk_space_before_the_set_up(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that cannot hold the set-up is noticed before it begins."""
    monkeypatch.setitem(run.COMMANDS, "setup", lambda *_: cache.require_space(10**12))
    monkeypatch.setattr(sys, "argv", ["run.py", "setup"])
    assert failures.exit_code(run.main) == 1
    error = capsys.readouterr().err
    assert error.startswith("run.py: error: no disk space: ")
    assert error.count("\n") == 1


def test_no_disk_space_during_the_set_up(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that fills up is called that, even where Python gathers the errors of many files."""

    def fill(*_: object) -> int:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise shutil.Error([("from", "to", str(full))])

    monkeypatch.setitem(run.COMMANDS, "setup", fill)
    monkeypatch.setattr(sys, "argv", ["run.py", "setup"])
    assert failures.exit_code(run.main) == 1
    error = capsys.readouterr().err
    assert error.startswith("run.py: error: no disk space: ")
    assert error.count("\n") == 1


def test_closed_pipe_is_no_failure(empty_checkout: Checkout) -> None:
    """`run.py help | head` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        empty_checkout.command("help"),
        stdout=writer,
        stderr=subprocess.PIPE,
        env=empty_checkout.environment(),
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("output", "meaning"),
    [
        ("ERROR: No matching distribution found for x==9", "no such package or version"),
        ("E: Temporary failure resolving 'deb.debian.org'\nE: end", "no network"),
        ("OSError: [Errno 28] No space left on device", "no disk space"),
        ("error: some other\nthe end", "error: some other (exit code 3)"),
        ("", "no message (exit code 3)"),
    ],
)
def test_last_words_of_a_program(output: str, meaning: str) -> None:
    """What is known is said by name; else the line that tells most, with the exit code."""
    assert failures.reason(output, 3).startswith(meaning)
