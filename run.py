#!/usr/bin/env python3
"""Set up what pyiocp needs on this machine, then run it: the same commands on every OS.

    python3 run.py demo [ARGS]           show I/O completion ports at work
    python3 run.py test [PYTEST ARGS]    every check and test; with arguments, those tests only
    python3 run.py check                 the static checks only (ruff, mypy)
    python3 run.py python ARGS...        Windows Python with pyiocp importable
    python3 run.py shell                 a Python console with a port and two connected streams
    python3 run.py bench [ARGS]          benchmarks: against other libraries; `calls`: cost per call
    python3 run.py soak [PYTEST ARGS]    the long tests, with a seed that can be given again
    python3 run.py coverage [ARGS]       the tests again, and which branches of pyiocp they take
    python3 run.py setup                 only the set-up for all of these

    --python 3.12 (or 3.13t), right before or after the command: another version of Python

On Windows the commands run in a virtual environment beside this file (`.venv-3.13`). Elsewhere
they run in Windows CPython under Wine, which lives in `.cache` and is put together on first use:
the interpreter is python.org's build as carried by a wheel on PyPI, the standard library is the
host's, and mingw-w64 compiles the few lines of C in this file.

This file is for whoever checks out the project, so it needs nothing but the standard library. It
says what it does in lines that begin with `run.py:`, and every failure is one such line.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("PYIOCP_CACHE") or HERE / ".cache").absolute()

WHEEL = "panda3d==1.10.16"
"""The wheel that carries python.org's Windows builds, from 3.11 to 3.14 and free-threaded."""

PIP = "pip==25.3"
"""The pip that runs in Windows Python: a release whose option `legacy-certs` is tried."""

DEBIAN_PACKAGES = {
    "wine": ("wine", "wine64"),
    "wineserver": ("wine", "wine64"),
    "x86_64-w64-mingw32-gcc": ("gcc-mingw-w64-x86-64",),
    "i686-w64-mingw32-gcc": ("gcc-mingw-w64-i686",),
    "gcc": ("gcc", "libc6-dev"),
}
"""The programs that have to be on PATH, and the Debian packages that bring them."""

WINE = ("wine", "wineserver")
COMPILER = ("x86_64-w64-mingw32-gcc",)
COMPILERS_OF_PROOF = ("x86_64-w64-mingw32-gcc", "i686-w64-mingw32-gcc")

EXTRAS = ("test", "cli", "examples", "bench")
"""The extras of pyproject.toml that every command has."""

NOT_FREE_THREADED = ("bench", "peers")
"""Extras without a build for free-threaded Python: they are left out there."""

NEEDS_UNDER_WINE = {"matplotlib": "numpy<2.2"}
"""What a package needs besides under Wine 8, whose C runtime lacks crealf: newer ones call that."""

HOST_TEST_FOLDERS = ("tests/runner", "tests/proof", "tests/endurance")
"""Tests that run in the interpreter that runs this file; the others run in Windows Python."""

COMPILERS_OF_BENCHMARKS = ("gcc", "x86_64-w64-mingw32-gcc")
"""What makes the clients, which run on the host, and the server that is in C."""

BRANCHES_MIN_PERCENT = 95.0
"""How many of the package's branches the tests have to take."""

LINGER_SECONDS = 30
"""How long Wine's background processes wait for the next command; starting them takes 1.5 s."""

PROBE_WITHIN_SECONDS = 10
"""A command that fails sooner than this may have failed because the interpreter is broken."""


class Failure(Exception):  # noqa: N818 (an error of the surroundings, not of this program)
    """Something the user has to know, in one line."""


# --- What the user sees ---------------------------------------------------------------------------


def say(message: str) -> None:
    """Report on stderr, which leaves stdout to the program that runs."""
    print(f"run.py: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(message: str) -> Iterator[None]:
    """Announce a step that takes time, then say how long it took."""
    say(f"{message} ...")
    started = time.monotonic()
    yield
    say(f"{message}: done in {time.monotonic() - started:.0f} s")


# --- Versions of Python ---------------------------------------------------------------------------


class Version:
    """A minor version of CPython as the user writes it: `3.13`, or `3.13t` when free-threaded."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"3\.(\d+)(t?)", text)
        if not match:
            raise Failure(f"--python {text}: not a version like 3.12 or 3.13t")
        if int(match[1]) < 11:
            raise Failure(f"--python {text}: pyiocp needs Python 3.11 or later")
        if match[2] and int(match[1]) < 13:
            raise Failure(f"--python {text}: free-threaded builds begin with 3.13t")
        self.text = text
        self.minor = f"3.{match[1]}"
        self.free_threaded = bool(match[2])
        self.tag = f"3{match[1]}{match[2]}"  # as in python313t.dll and cp313t

    @classmethod
    def running(cls) -> Version:
        """Return the version of the interpreter that runs this file."""
        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        return cls(f"3.{sys.version_info.minor}{'t' * free_threaded}")


def find_stdlib(minor: str) -> Path:
    """Find the host's standard library of a minor version."""
    # Debian splits the library over packages; these three are not all in its smallest one.
    parts = ("os.py", "asyncio/windows_events.py", "ctypes/wintypes.py")
    for folder in stdlib_candidates(minor):
        if all((folder / part).is_file() for part in parts):
            return folder
    raise Failure(
        f"no standard library of Python {minor} on this machine (not in the running interpreter, "
        f"python{minor} on PATH, ~/.pyenv/versions, /usr/lib or /usr/local/lib): "
        f"install Python {minor}, or choose another version with --python"
    )


def stdlib_candidates(minor: str) -> Iterator[Path]:
    """Yield the folders where the standard library of a minor version may be."""
    if minor == f"3.{sys.version_info.minor}":
        yield Path(sysconfig.get_path("stdlib"))
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        program = Path(folder) / f"python{minor}"
        if program.is_file():
            # A pyenv shim is on PATH even when its version is not active; then it fails.
            ask = [str(program), "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
            answer = subprocess.run(ask, capture_output=True, text=True, check=False)
            if answer.returncode == 0:
                yield Path(answer.stdout.strip())
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    pyenv = [path for path in versions.glob(f"{minor}*") if re.match(rf"{minor}(\D|$)", path.name)]
    for prefix in sorted(pyenv, key=patch_number, reverse=True):
        yield from (prefix / "lib").glob(f"python{minor}*")
    for root in ("/usr/lib", "/usr/local/lib"):
        yield Path(root) / f"python{minor}"


def patch_number(path: Path) -> int:
    """Return the 7 of a folder named 3.11.7, and -1 where there is none."""
    match = re.fullmatch(r"3\.\d+\.(\d+)t?", path.name)
    return int(match[1]) if match else -1


def requirements(extras: Iterable[str]) -> list[str]:
    """Return what the named extras of pyproject.toml require, extras of extras included."""
    import tomllib  # noqa: PLC0415 (an older Python has to get as far as being told so)

    with (HERE / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    found: set[str] = set()
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            nested = re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", line)
            found.update(requirements(nested[1].split(",")) if nested else [line])
    return sorted(found)


# --- Files in the cache ---------------------------------------------------------------------------


lock_depth = 0


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep a second run.py from setting up the same thing at the same time; may be nested."""
    global lock_depth
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a+b") as file:
        if lock_depth == 0 and not try_lock(file):
            say("waiting for another run.py that is setting up")
            while not try_lock(file):
                time.sleep(0.1)
        lock_depth += 1
        try:
            yield  # closing the file releases the lock, and so does being killed
        finally:
            lock_depth -= 1


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock if it is free."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 (not there on other systems)

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 (not there on Windows)

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


class Step:
    """A part of the set-up, and the record that it was done, from what, leaving which files.

    The record is written last and by renaming, so that an interrupted step has none and is done
    again. It holds the size of every file that the step left: a truncated or missing file makes
    the step undone.
    """

    def __init__(
        self,
        name: str,
        facts: object,
        space_mb: int,
        work: Callable[[bool], tuple[Path, list[Path]]],
    ) -> None:
        """Say what the step is made from and what does it.

        `work(damaged)` does it, and returns a folder and the files under it that have to stay as
        they are. It is told whether it was done before and damaged since, for then what looks
        finished may not be.
        """
        self.space_mb = space_mb
        self.record = CACHE / "done" / f"{name}.json"
        self.made_from = hashlib.sha256(repr((facts, name)).encode()).hexdigest()
        self.work = work

    def was_done(self) -> bool:
        """Tell whether the step was done from the same facts, whatever became of its files."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self.record.read_text(encoding="utf-8"))
            return bool(record["made_from"] == self.made_from)
        return False  # no record, or a damaged one

    def is_done(self) -> bool:
        """Tell whether the step was done from the same facts and its files are all there."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(self.record.read_text(encoding="utf-8"))
            root, sizes = CACHE / record["root"], record["files"]
            # Thousands of files at every start: a Path for each would cost 50 ms.
            return record["made_from"] == self.made_from and all(
                os.stat(f"{root}/{name}").st_size == size  # noqa: PTH116
                for name, size in sizes.items()
            )
        return False  # no record, a damaged one, or a file that is gone

    def do(self) -> None:
        """Do the work and record it."""
        damaged = self.was_done()
        self.forget()
        root, files = self.work(damaged)
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
        self.record.parent.mkdir(parents=True, exist_ok=True)
        partial = self.record.with_suffix(".partial")
        partial.write_text(
            # The root is relative, so that a checkout can be moved with what it has cached.
            json.dumps(
                {"made_from": self.made_from, "root": os.path.relpath(root, CACHE), "files": sizes}
            ),
            encoding="utf-8",
        )
        partial.replace(self.record)

    def forget(self) -> None:
        """Have the step done again next time."""
        self.record.unlink(missing_ok=True)


def set_up(steps: Sequence[Step], *, again: bool = False) -> None:
    """Do the steps that are not done yet, or all of them again."""
    if not again and all(step.is_done() for step in steps):
        return  # all that a second start has to do
    with locked():
        if not again and all(step.is_done() for step in steps):
            return  # the run.py that held the lock did it
        require_space(sum(step.space_mb for step in steps if again or not step.is_done()))
        for step in steps:
            if again or not step.is_done():
                step.do()


def require_space(needed_mb: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free_mb = shutil.disk_usage(CACHE).free // 1_000_000
    if free_mb < needed_mb:
        raise Failure(f"no disk space: {free_mb} MB free in {CACHE}, set-up needs {needed_mb} MB")


def files_under(folder: Path) -> list[Path]:
    """List the files under a folder, without those that Python adds as it runs."""
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    ]


def replace_folder(new: Path, final: Path) -> None:
    """Put a finished folder in its place; who still uses the old one keeps its open files."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


# --- Programs of the host -------------------------------------------------------------------------


def call(command: Sequence[str | Path], what: str, env: dict[str, str] | None = None) -> None:
    """Run a program to its end without showing its output; if it fails, say why in one line."""
    try:
        # Its standard streams are pipes, for under Wine nothing else will do; see run_piped.
        done = subprocess.run(
            [str(part) for part in command],
            input=b"",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            check=False,
        )
    except OSError as error:
        raise Failure(f"{what}: {command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failure(f"{what}: {reason(done.stdout.decode(errors='replace'), done.returncode)}")


KNOWN_FAILURES = {
    "no disk space": r"No space left on device|Errno 28|enough free space|disk full",
    "no such package or version on the package registry": r"No matching distribution found",
    "no network, or the package registry does not answer": (
        r"ame resolution|Temporary failure resolving|NewConnectionError|Failed to establish"
        r"|Network is unreachable|Could not connect|Connection refused|getaddrinfo failed"
        r"|timed out|ProxyError|SSLError"
    ),
}
"""What the output of a failed program means, by what is found in it; the last found holds."""


def reason(output: str, status: int) -> str:
    """Tell from a failed program's output what the user has to know."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)E:|(\w+: )?(fatal )?error\b", line)]
    detail = (telling or lines or ["no message"])[-1]
    meanings = [text for text, pattern in KNOWN_FAILURES.items() if re.search(pattern, output)]
    if meanings:
        return f"{meanings[-1]} ({detail})"
    return f"{detail} (exit code {status})"


def require_programs(programs: Iterable[str]) -> None:
    """See that programs of the host are there, with apt-get if need be."""
    missing = [program for program in programs if not shutil.which(program)]
    if not missing:
        return
    packages = sorted({name for program in missing for name in DEBIAN_PACKAGES[program]})
    with locked():
        if any(not shutil.which(program) for program in missing):
            install_packages(packages)
    still = [program for program in missing if not shutil.which(program)]
    if still:
        raise Failure(f"{' '.join(packages)} installed, but {', '.join(still)} is not on PATH")


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages, or say what the user has to install."""
    names = " ".join(packages)
    prefix = apt_prefix()
    if prefix is None:
        raise Failure(
            f"not installed: {names} (names of Debian's packages); apt-get is not there or may not "
            f"be used without a password, so please install: sudo apt-get install {names}"
        )
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    apt += ["-o", "DPkg::Lock::Timeout=600"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    with progress(f"installing {names} with apt-get"):
        try:
            call(install, "apt-get install")
        except Failure:
            # A fresh machine has no package lists yet, an old one has lists of versions that are
            # gone, and an interrupted installation has to be ended first.
            call([*prefix, "dpkg", "--configure", "-a"], "dpkg --configure -a")
            call([*apt, "update"], "apt-get update")
            call(install, f"apt-get install {names}")


def apt_prefix() -> list[str] | None:
    """Return what makes apt-get run as root (nothing, or sudo), or None if it cannot be run."""
    if sys.platform == "win32" or not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if not sudo:
        return None
    allowed = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)
    return [sudo, "-n"] if allowed.returncode == 0 else None


def host_pip() -> list[str]:
    """Return the command of the host's pip, which Debian packs apart from Python."""
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        if not sys.executable.startswith("/usr/bin/"):
            raise Failure(f"{sys.executable} has no pip; try: {sys.executable} -m ensurepip")
        install_packages(["python3-pip"])
    return [*command, "--disable-pip-version-check", "--no-input"]


def pip_settings_for_wine() -> dict[str, str]:
    """Return what the host's pip knows of mirrors and certificates, for pip in Windows Python."""
    listed = subprocess.run(
        [*host_pip(), "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = dict(re.findall(r"(?m)^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed))
    shared = ("index-url", "extra-index-url", "trusted-host", "proxy")
    env = {f"PIP_{n.upper().replace('-', '_')}": settings[n] for n in shared if n in settings}
    bundle = Path(settings.get("cert", "/etc/ssl/certs/ca-certificates.crt"))
    return env | ({"PIP_CERT": windows_path(bundle)} if bundle.is_file() else {})


def download(what: str, folder: Path, arguments: Sequence[str]) -> Path:
    """Fetch one wheel into a folder of its own, unless it is there, and return its path."""
    wheels = list(folder.glob("*.whl"))
    if not wheels or not zipfile.is_zipfile(wheels[0]):
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        pip = [*host_pip(), "download", "--no-deps", "--only-binary=:all:", "-d", str(partial)]
        with progress(f"fetching {what} from PyPI"):
            call([*pip, *arguments], f"fetching {what} ({arguments[-1]})")
        replace_folder(partial, folder)
        wheels = list(folder.glob("*.whl"))
    return wheels[0]


class HostTools:
    """The programs of the `dev` extra for the running interpreter: ruff, mypy, pytest."""

    def __init__(self) -> None:
        self.root = CACHE / f"tools-{Version.running().text}"

    def set_up(self) -> None:
        """Install the tools, unless they are there."""
        wanted = requirements(["dev"])
        facts = (wanted, sys.version_info[:2], sys.platform, platform.machine())
        set_up([Step(self.root.name, facts, 250, lambda _: self.install(wanted))])

    def install(self, wanted: Sequence[str]) -> tuple[Path, list[Path]]:
        """Install into a folder of the cache: Debian's Python is not ours to change."""
        new = self.root.with_name(f"{self.root.name}.partial")
        shutil.rmtree(new, ignore_errors=True)
        with progress(f"installing tools: {' '.join(wanted)}"):
            pip = [*host_pip(), "install", "--prefer-binary", "--no-warn-script-location"]
            call([*pip, "--target", str(new), *wanted], "installing tools")
            replace_folder(new, self.root)
        return self.root, files_under(self.root)

    def run(self, arguments: Sequence[str]) -> int:
        """Run a module of the tools in the project's folder and return its exit code."""
        env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(self.root), str(HERE)]))
        # -S: plugins that happen to be installed beside the interpreter have no say.
        return run_inherited([sys.executable, "-S", "-m", *arguments], env, HERE)


# --- Running a child ------------------------------------------------------------------------------


def run_inherited(
    command: Sequence[str], env: dict[str, str] | None = None, cwd: Path | None = None
) -> int:
    """Run a child on our own terminal or streams; Ctrl-C reaches both, and the child decides."""
    child = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 (no threads yet)
    )
    with signals_handled(interrupt=lambda _presses: None, end=child.kill):
        code = child.wait()
    return code if code >= 0 else 128 - code


def run_piped(
    command: Sequence[str], env: dict[str, str], *, stdin: bool, cwd: Path | None = None
) -> int:
    """Run a child whose streams are pipes, pass on what comes as it comes, return its exit code.

    Under Wine, Windows Python ends at start-up with "WinError 6, invalid handle" if a standard
    stream is a regular file or /dev/null. Pipes always work.
    """
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        bufsize=0,
        start_new_session=True,  # Ctrl-C on the terminal reaches us only; we pass it on, once
        preexec_fn=die_with_parent(),  # noqa: PLW1509 (no threads yet)
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    ended = threading.Event()
    pumps = [
        threading.Thread(target=pump_out, args=(child.stdout, 1, ended), daemon=True),
        threading.Thread(target=pump_out, args=(child.stderr, 2, ended), daemon=True),
    ]
    for thread in pumps:
        thread.start()
    if stdin:
        threading.Thread(target=pump_in, args=(child.stdin,), daemon=True).start()
    else:
        child.stdin.close()

    def interrupt(presses: int) -> None:
        if presses == 3:
            say("third Ctrl-C: ending the program by force")
        kill_group(child.pid, signal.SIGINT if presses < 3 else signal.SIGKILL)

    with signals_handled(interrupt, end=lambda: kill_group(child.pid, signal.SIGKILL)):
        code = child.wait()
        ended.set()
        for thread in pumps:
            thread.join()
    return code if code >= 0 else 128 - code


def pump_out(source: IO[bytes], target: int, ended: threading.Event) -> None:
    """Pass on what a child writes, as it comes, until it has ended and everything is passed on.

    The end of the file would not do as the sign: Wine's background processes, started by whichever
    command comes first, hold on to its stderr for as long as they live.
    """
    poll = select.poll()
    poll.register(source, select.POLLIN)
    with source, contextlib.suppress(OSError):  # our reader went away: the child's pipe closes too
        while True:
            had_ended = ended.is_set()  # asked before looking, so that the last bytes are seen
            if poll.poll(0 if had_ended else 50):
                data = os.read(source.fileno(), 65536)
                if not data:
                    return
                while data:
                    data = data[os.write(target, data) :]
            elif had_ended:
                return


def pump_in(target: IO[bytes]) -> None:
    """Pass our standard input to a child."""
    with contextlib.suppress(OSError):
        while data := os.read(0, 65536):
            while data:
                data = data[target.write(data) :]
    with contextlib.suppress(OSError):
        target.close()


def kill_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it is still there."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)


def die_with_parent() -> Callable[[], object] | None:
    """Return what a child calls before it starts, so that it ends even if we are killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec is no place for it
    pr_set_pdeathsig = 1
    return lambda: prctl(pr_set_pdeathsig, int(signal.SIGKILL))


@contextlib.contextmanager
def signals_handled(
    interrupt: Callable[[int], object], end: Callable[[], object]
) -> Iterator[None]:
    """While a child runs, have Ctrl-C call `interrupt(how often)`, and `end()` if we are to end."""
    presses = 0

    def on_interrupt(_number: int, _frame: object) -> None:
        nonlocal presses
        presses += 1
        interrupt(presses)

    def on_end(number: int, _frame: object) -> None:
        end()
        sys.exit(128 + number)

    handlers = {signal.SIGINT: on_interrupt, signal.SIGTERM: on_end}
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = on_end
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- Windows Python -------------------------------------------------------------------------------


class WindowsPython(Protocol):
    """A Windows interpreter that can import pyiocp and what its extras require."""

    def set_up(self, extras: Sequence[str]) -> None:
        """Do the part of the set-up that is not done yet."""

    def run(self, arguments: Sequence[str], *, stdin: bool = True, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""

    def interact(self, arguments: Sequence[str]) -> int:
        """Run the interpreter on our terminal, with editing of lines, and return its exit code."""

    def path(self, path: Path) -> str:
        """Return the name of a file as the interpreter sees it."""


class NativePython:
    """Windows Python on Windows: a virtual environment with the project installed as it stands."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.root = HERE / f".venv-{version.text}"
        self.program = self.root / "Scripts" / "python.exe"

    def set_up(self, extras: Sequence[str]) -> None:
        """Make the environment and install what the extras require, unless it is done."""
        names = ",".join(sorted(extras))
        wanted = (requirements(extras), str(HERE))
        set_up(
            [
                Step(f"venv-{self.version.text}", str(HERE), 100, self.make),
                Step(
                    f"venv-{self.version.text}-{names}", wanted, 200, lambda _: self.install(names)
                ),
            ]
        )

    def make(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Make the virtual environment."""
        base = native_interpreter(self.version)
        with progress(f"making {self.root.name}"):
            call([base, "-m", "venv", "--clear", self.root], f"making {self.root.name}")
        return self.root, [self.program, self.root / "pyvenv.cfg"]

    def install(self, extras: str) -> tuple[Path, list[Path]]:
        """Install the project, editable, with its extras."""
        with progress(f"installing pyiocp[{extras}]"):
            pip = [str(self.program), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
            call(
                [*pip, "--prefer-binary", "-e", f"{HERE}[{extras}]"], f"installing pyiocp[{extras}]"
            )
        return self.root, files_under(self.root / "Lib" / "site-packages")

    def run(self, arguments: Sequence[str], *, stdin: bool = True, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""
        del stdin  # the child has our own
        return run_inherited([str(self.program), *arguments], cwd=cwd)

    def interact(self, arguments: Sequence[str]) -> int:
        """Run the interpreter on our terminal and return its exit code."""
        return self.run(arguments)

    def path(self, path: Path) -> str:
        """Return the name of a file as the interpreter sees it."""
        return str(path)


def native_interpreter(version: Version) -> str:
    """Find an interpreter of a version on Windows."""
    if version.text == Version.running().text:
        return sys.executable
    launcher = shutil.which("py")
    if launcher:
        ask = [launcher, f"-{version.text}", "-c", "import sys; print(sys.executable)"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            return answer.stdout.strip()
    raise Failure(f"Python {version.text} is not installed (asked: py -{version.text})")


PYTHON_C = """
#include <windows.h>

/* python.exe: the part of CPython that the wheel leaves out. */
typedef int (*main_function)(int, wchar_t **);

int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(L"python%(tag)s.dll");
    main_function py_main = python ? (main_function)(void *)GetProcAddress(python, "Py_Main") : 0;
    return py_main ? py_main(argc, argv) : 120;
}
"""

SUPERVISE_C = """
#include <stdio.h>
#include <windows.h>

/* supervise.exe COMMAND: run a command so that it and its children end when this process does,
   and fold its exit code of 32 bits into the 8 that POSIX keeps. */

static BOOL WINAPI leave_it_to_the_child(DWORD event)
{
    (void)event; /* the child gets Ctrl-C too */
    return TRUE;
}

static const wchar_t *after_first_argument(const wchar_t *line)
{
    int quoted = 0;
    for (; *line && (quoted || (*line != L' ' && *line != L'\\t')); line++)
        if (*line == L'"')
            quoted = !quoted;
    while (*line == L' ' || *line == L'\\t')
        line++;
    return line;
}

int wmain(void)
{
    wchar_t *command = _wcsdup(after_first_argument(GetCommandLineW()));
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    STARTUPINFOW startup;
    PROCESS_INFORMATION child;
    DWORD code = 121;

    /* The job dies with its only handle, which is ours, and takes along every process in it. */
    HANDLE job = CreateJobObjectW(NULL, NULL);
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);

    GetStartupInfoW(&startup);
    /* One time in a thousand Wine 8 fails by itself, with ERROR_INTERNAL_ERROR. */
    for (int tries = 1; !CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL,
                                        NULL, &startup, &child); tries++)
        if (tries == 3 || GetLastError() != ERROR_INTERNAL_ERROR) {
            fprintf(stderr, "run.py: Windows error %lu at the start of python.exe\\n",
                    GetLastError());
            return 121;
        }
    AssignProcessToJobObject(job, child.hProcess);
    SetConsoleCtrlHandler(leave_it_to_the_child, TRUE);
    ResumeThread(child.hThread);

    /* Were they left open here, nobody would see that the child closed its own. */
    CloseHandle(GetStdHandle(STD_INPUT_HANDLE));
    CloseHandle(GetStdHandle(STD_OUTPUT_HANDLE));

    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &code);
    if (code <= 255)
        return code;
    if (code == (DWORD)STATUS_CONTROL_C_EXIT)
        return 130; /* as shells say for SIGINT */
    fprintf(stderr, "run.py: Python ended with Windows exit code 0x%08lX\\n", code);
    return 255;
}
"""


class WinePython:
    """Windows CPython under Wine: the interpreter in the cache, in a Wine prefix of its own."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.root = CACHE / f"cpython-{version.text}"
        self.site = self.root / "Lib" / "site-packages"
        self.built_from = (WHEEL, PYTHON_C, SUPERVISE_C, version.text)
        self.build_step = Step(f"cpython-{version.text}", self.built_from, 500, self.build)

    def set_up(self, extras: Sequence[str]) -> None:
        """Put together what is not there yet."""
        if platform.machine() not in ("x86_64", "AMD64"):
            raise Failure(f"Wine needs an x86-64 machine here, not {platform.machine()}")
        require_programs(WINE)
        wine = Path(shutil.which("wine") or "wine").stat()
        self.wine_step = Step("wine", (wine.st_size, wine.st_mtime_ns), 800, make_prefix)
        wanted = requirements(extras)
        names = [re.split(r"\W", line)[0] for line in wanted]
        wanted += [needed for name, needed in NEEDS_UNDER_WINE.items() if name in names]
        self.steps = [
            self.build_step,  # first, for what the host may lack shows in it
            Step(f"cpython-{self.version.text}-pip", (self.built_from, PIP), 50, self.install_pip),
            self.wine_step,
            Step(
                f"cpython-{self.version.text}-{'-'.join(sorted(extras))}",
                (self.built_from, wanted, str(HERE)),
                200,
                lambda damaged: self.install(wanted, damaged),
            ),
        ]
        set_up(self.steps)

    def build(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Put the interpreter together: DLLs of the wheel, library of the host, our python.exe."""
        stdlib = find_stdlib(self.version.minor)
        wheel = download(
            f"Windows CPython {self.version.text} (65 MB)",
            CACHE / "downloads" / f"cpython-{self.version.text}",
            [
                *("--platform", "win_amd64", "--implementation", "cp"),
                *("--python-version", self.version.minor, "--abi", f"cp{self.version.tag}"),
                WHEEL,
            ],
        )
        require_programs(COMPILER)
        new = self.root.with_name(f"{self.root.name}.partial")
        with progress(f"putting together Windows CPython {self.version.text}"):
            shutil.rmtree(new, ignore_errors=True)
            (new / "DLLs").mkdir(parents=True)
            unpack_interpreter(wheel, new)
            # Not for Windows, or not for this copy, which pip may well install into.
            skip = ["__pycache__", "lib-dynload", "site-packages", "dist-packages", "config-*"]
            skip += ["EXTERNALLY-MANAGED"]
            shutil.copytree(stdlib, new / "Lib", ignore=shutil.ignore_patterns(*skip))
            (new / "Lib" / "site-packages").mkdir()
            compile_c(PYTHON_C % {"tag": self.version.tag}, new / "python.exe")
            compile_c(SUPERVISE_C, new / "supervise.exe")
            replace_folder(new, self.root)
        return self.root, files_under(self.root)

    def install_pip(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Unpack pip from PyPI: Debian's Python lacks the copy that ensurepip would unpack."""
        for old in self.site.glob("pip*"):  # files of two versions would be mixed otherwise
            shutil.rmtree(old)
        with zipfile.ZipFile(download("pip", CACHE / "downloads" / PIP, [PIP])) as wheel:
            wheel.extractall(self.site)
        return self.site, files_under(self.site / "pip")

    def install(self, wanted: Sequence[str], damaged: bool) -> tuple[Path, list[Path]]:
        """Install what the extras require with pip under Wine, so that Windows markers hold."""
        (self.site / "pyiocp-checkout.pth").write_text(windows_path(HERE) + "\n", encoding="utf-8")
        with progress(f"installing for Windows Python {self.version.text}: {' '.join(wanted)}"):
            pip = [
                "wine",
                str(self.root / "python.exe"),
                "-m",
                "pip",
                "--disable-pip-version-check",
            ]
            pip += ["--no-input", "install", "-q", "--no-warn-script-location"]
            # A free-threaded build gets the newest version that has a wheel for it, not a newer one
            # whose source needs a compiler.
            pip += ["--prefer-binary"]
            pip += ["--no-compile"]  # Python compiles what it imports; all of it takes 7 s here
            pip += ["--force-reinstall"] if damaged else []
            # Its own certificates or PIP_CERT: Wine does not verify with certificates of a caller.
            pip += ["--use-deprecated", "legacy-certs"]
            env = wine_environment() | pip_settings_for_wine()
            call([*pip, *wanted], "pip in Windows Python", env)
        others = [path for path in files_under(self.site) if "pip" not in path.parts]
        return self.site, others

    def run(self, arguments: Sequence[str], *, stdin: bool = True, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""
        started = time.monotonic()
        code = run_piped(self.command(arguments), wine_environment(), stdin=stdin, cwd=cwd)
        if code and time.monotonic() - started < PROBE_WITHIN_SECONDS and self.repair():
            code = run_piped(self.command(arguments), wine_environment(), stdin=stdin, cwd=cwd)
        return code

    def interact(self, arguments: Sequence[str]) -> int:
        """Run the interpreter in Wine's console, which edits lines and passes on Ctrl-C."""
        if not all(os.isatty(stream) for stream in (0, 1, 2)):
            return self.run(arguments)
        import termios  # noqa: PLC0415 (not there on Windows)

        mode = termios.tcgetattr(0)
        env = wine_environment()
        env.pop("PYTHONIOENCODING", None)  # a console has an encoding of its own
        env["PYTHON_BASIC_REPL"] = "1"  # two editors of lines are one too many
        try:
            return run_inherited(self.command(arguments), env)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, mode)

    def path(self, path: Path) -> str:
        """Return the name of a file as the interpreter sees it."""
        return windows_path(path)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command of the host that runs the interpreter."""
        keep_wine_warm()
        python = windows_path(self.root / "python.exe")
        return ["wine", str(self.root / "supervise.exe"), python, *arguments]

    def repair(self) -> bool:
        """If the interpreter cannot even do nothing, make it again and return True."""
        if self.starts():
            return False
        say("the cached Windows Python does not start: building it again")
        set_up([self.build_step], again=True)
        if not self.starts():
            say("that did not help: making the Windows for Wine again too")
            set_up([self.wine_step], again=True)
        if not self.starts():
            raise Failure(f"Wine cannot run {self.root / 'python.exe'}: is Wine all right?")
        set_up(self.steps)  # the packages that the new interpreter lacks
        return True

    def starts(self) -> bool:
        """Tell whether the interpreter starts."""
        try:
            call(["wine", self.root / "python.exe", "-c", "pass"], "", wine_environment())
        except Failure:
            return False
        return True


def wine_prefix() -> Path:
    """Return the folder in which Wine keeps its Windows."""
    return CACHE / "wine"


def make_prefix(_damaged: bool) -> tuple[Path, list[Path]]:
    """Make the folder in which Wine keeps its Windows."""
    final = wine_prefix()
    new = final.with_name("wine.partial")
    env = wine_environment(new)
    with progress("making a Windows for Wine"):
        for left_over in (new, final):
            if left_over.exists():  # interrupted or broken; its server would go on writing to it
                end_wine(left_over)
                shutil.rmtree(left_over, ignore_errors=True)
        new.mkdir(parents=True)
        call(["wine", "wineboot", "-i"], "Wine fails to make its Windows", env)
        call(["wine", "winecfg", "-v", "win10"], "Wine fails to become Windows 10", env)
        call(["wineserver", "-w"], "Wine does not end", env)
        system = new / "drive_c" / "windows" / "system32"
        if not (system / "kernel32.dll").is_file():
            raise Failure("Wine made a Windows without kernel32.dll: is Wine all there?")
        new.rename(final)
    names = ("ntdll", "kernel32", "kernelbase", "ucrtbase", "advapi32", "ws2_32", "mswsock")
    system = final / "drive_c" / "windows" / "system32"
    return final, [system / f"{name}.dll" for name in names]


def wine_environment(prefix: Path | None = None) -> dict[str, str]:
    """Return the environment for Wine and for Windows Python in it."""
    # Paths of the host's Python would mislead the Windows one. Nothing here needs a display.
    unwanted = {
        *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE"),
        *("PYTHONPYCACHEPREFIX", "PYTHONPLATLIBDIR", "DISPLAY", "WAYLAND_DISPLAY"),
    }
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env["WINEPREFIX"] = str(prefix or wine_prefix())
    env["WINEARCH"] = "win64"
    env.setdefault("WINEDEBUG", "-all")
    # Not started: .NET, the browser engine (Wine would offer to install them), and the program
    # that writes menu entries, which makes the first command wait a second for it.
    env["WINEDLLOVERRIDES"] = "mscoree,mshtml,winemenubuilder.exe="
    # In the C locale Wine knows only file names and arguments of ASCII.
    if "utf" not in (env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or "").lower():
        env["LC_ALL"] = "C.UTF-8"
    # Windows Python sees pipes, for which it would choose the ANSI code page; our end is UTF-8.
    env.setdefault("PYTHONIOENCODING", "utf-8")
    if os.isatty(1):
        env.setdefault("FORCE_COLOR", "1")
        env.setdefault("TTY_INTERACTIVE", "1")  # a live display works, although it sees a pipe
        env.setdefault("COLUMNS", str(shutil.get_terminal_size().columns))
    return env


def keep_wine_warm() -> None:
    """Start Wine's server, if it is not there, so that it waits a while after its last program."""
    subprocess.run(
        ["wineserver", f"-p{LINGER_SECONDS}"],
        env=wine_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def end_wine(prefix: Path) -> None:
    """End every program of a Wine prefix, and its server."""
    command = ["wineserver", "-k"]
    subprocess.run(command, env=wine_environment(prefix), capture_output=True, check=False)


def windows_path(path: Path) -> str:
    """Return the name of a file of the host as Windows programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")


def unpack_interpreter(wheel: Path, root: Path) -> None:
    """Take the interpreter, its extension modules and their DLLs out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if folder != "deploy_libs" or not file.endswith((".dll", ".pyd")):
                continue
            # The C runtime is Wine's own. _wmi ends the process: Wine 8 lacks a function that it
            # needs; without the module, platform does without.
            if file.startswith(("api-ms-", "ucrtbase", "_wmi.")):
                continue
            beside_exe = file.lower().startswith(("python3", "vcruntime"))
            target = root / file if beside_exe else root / "DLLs" / file
            target.write_bytes(archive.read(name))


def compile_c(source: str, program: Path) -> None:
    """Compile a C file for Windows."""
    file = program.with_suffix(".c")
    file.write_text(source, encoding="utf-8")
    flags = ["-O2", "-Wall", "-Werror", "-municode"]
    call([*COMPILER, *flags, file, "-o", program], f"compiling {program.name}")


def windows_python(version: Version, extras: Sequence[str] = EXTRAS) -> WindowsPython:
    """Return Windows Python, set up."""
    python: WindowsPython
    python = NativePython(version) if sys.platform == "win32" else WinePython(version)
    left_out = NOT_FREE_THREADED if version.free_threaded else ()
    python.set_up([extra for extra in extras if extra not in left_out])
    return python


# --- Commands -------------------------------------------------------------------------------------


def command_setup(version: Version, arguments: list[str]) -> int:
    """Set up everything that the other commands need."""
    refuse(arguments)
    windows_python(version)
    HostTools().set_up()
    require_compilers_of_proof()
    return 0


def command_demo(version: Version, arguments: list[str]) -> int:
    """Show what the library does."""
    return windows_python(version).run(["-m", "pyiocp", "demo", *arguments])


def command_python(version: Version, arguments: list[str]) -> int:
    """Run Windows Python; without arguments, interactively."""
    python = windows_python(version)
    return python.run(arguments) if arguments else python.interact(["-i"])


def command_shell(version: Version, arguments: list[str]) -> int:
    """Run `python -m pyiocp shell`: a console with a port and two connected streams."""
    return windows_python(version).interact(["-m", "pyiocp", "shell", *arguments])


def command_bench(version: Version, arguments: list[str]) -> int:
    """Run the benchmarks: servers in Windows Python, and their load where it is cheapest."""
    if arguments[:1] == ["calls"]:
        script, arguments = require_file("benchmarks/calls.py"), arguments[1:]
        python = windows_python(version)
    else:
        script = require_file("benchmarks/bench.py")
        python = windows_python(version, (*EXTRAS, "peers"))
    if sys.platform == "win32":
        return python.run([script, *arguments], cwd=HERE)
    require_programs(COMPILERS_OF_BENCHMARKS)
    return run_inherited([sys.executable, script, "--python", version.text, *arguments], cwd=HERE)


def command_soak(version: Version, arguments: list[str]) -> int:
    """Run the long tests, with a seed that repeats them when it is given again."""
    seed = os.environ.setdefault("PYIOCP_SEED", str(random.randrange(2**32)))
    say(f"seed {seed}; to run the same again: PYIOCP_SEED={seed} python3 run.py soak")
    if any(is_test_path(argument) for argument in arguments):
        host, windows = split_pytest_arguments(arguments)
    else:
        host, windows = [*HOST_TEST_FOLDERS, *arguments], ["tests", *arguments]
    pytest = ["-v", "-m", "soak", f"--hypothesis-seed={seed}", "--timeout=0"]
    results: dict[str, int] = {}
    if host:
        results["long tests on this system"] = run_host_tests(version, [*pytest, *host])
    if windows:
        results["long tests in Windows Python"] = run_windows_tests(version, [*pytest, *windows])
    # Arguments such as -k may well leave nothing to one of the two.
    nothing_left = 5 if len(results) > 1 and arguments else 0
    return report({name: 0 if code == nothing_left else code for name, code in results.items()})


def run_host_tests(version: Version, arguments: list[str]) -> int:
    """Run tests in the interpreter that runs this; those with a server want `version` for it."""
    tools = HostTools()
    tools.set_up()
    if any("proof" in argument for argument in arguments):
        require_compilers_of_proof()
    if any("endurance" in argument for argument in arguments):
        require_load_generators_compiler()
    os.environ["PYIOCP_PYTHON"] = version.text
    return tools.run(["pytest", *arguments])


def run_windows_tests(version: Version, arguments: list[str]) -> int:
    """Run tests in Windows Python."""
    ignore = [f"--ignore={folder}" for folder in HOST_TEST_FOLDERS]
    command = ["-m", "pytest", *ignore, *arguments]
    return windows_python(version).run(command, stdin=False, cwd=HERE)


def command_coverage(version: Version, arguments: list[str]) -> int:
    """Run the tests, or those that are chosen, and tell which branches of the package they take."""
    folder = CACHE / f"coverage-{version.text}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    python = windows_python(version)
    os.environ["COVERAGE_FILE"] = python.path(folder / "data")  # also of what the tests start
    pytest = ["-m", "pytest", *(f"--ignore={folder}" for folder in HOST_TEST_FOLDERS)]
    pytest += ["--cov", "--cov-report=", *(arguments or in_parallel())]
    results = {"tests in Windows Python": python.run(pytest, stdin=False, cwd=HERE)}
    python.run(["-m", "coverage", "report"], stdin=False, cwd=HERE)
    summary = folder / "summary.json"
    write_summary = ["-m", "coverage", "json", "--quiet", "-o", python.path(summary)]
    if python.run(write_summary, stdin=False, cwd=HERE):
        raise Failure("coverage has nothing to say: did no test run?")
    totals = json.loads(summary.read_text(encoding="utf-8"))["totals"]
    taken, branches = totals["covered_branches"], totals["num_branches"]
    percent = 100 * taken / branches
    say(f"{taken} of {branches} branches of pyiocp taken, {percent:.2f} %")
    if not arguments:
        enough = percent >= BRANCHES_MIN_PERCENT
        results[f"at least {BRANCHES_MIN_PERCENT:.0f} % of the branches"] = 0 if enough else 1
    return report(results)


def command_check(_version: Version, arguments: list[str]) -> int:
    """Run the static checks."""
    refuse(arguments)
    tools = HostTools()
    tools.set_up()
    return report(
        {
            "ruff check": tools.run(["ruff", "check", "."]),
            "ruff format --check": tools.run(["ruff", "format", "--check", "."]),
            "mypy": tools.run(["mypy", "--strict", "--platform", "win32", "pyiocp", "examples"]),
        }
    )


def command_test(version: Version, arguments: list[str]) -> int:
    """Run every check and test, or the tests that the arguments choose."""
    host, windows = split_pytest_arguments(arguments)
    results: dict[str, int] = {}
    if not arguments:
        results["static checks"] = command_check(version, [])
        host = [folder for folder in HOST_TEST_FOLDERS if has_tests(folder)]
        windows = in_parallel()
    if host:
        results["tests on this system"] = run_host_tests(version, host)
    if windows:
        results["tests in Windows Python"] = run_windows_tests(version, windows)
    return report(results)


def in_parallel() -> list[str]:
    """Return pytest's arguments for all tests, several at a time."""
    # Most tests wait most of the time: 829 of them took 119 s this way, one by one 240 s.
    return ["tests", f"--numprocesses={(os.cpu_count() or 1) + 1}"]


def split_pytest_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split pytest's arguments into those for the host and those for Windows Python.

    A path decides where it runs; everything else goes along wherever a path does, and to Windows
    if there is no path at all.
    """
    places: list[str] = []
    for argument in arguments:
        path = path_of(argument)
        on_host = any(path.is_relative_to(HERE / folder) for folder in HOST_TEST_FOLDERS)
        places.append("both" if not is_test_path(argument) else "host" if on_host else "windows")
    host = [a for a, place in zip(arguments, places, strict=True) if place != "windows"]
    windows = [a for a, place in zip(arguments, places, strict=True) if place != "host"]
    only_host = "host" in places and "windows" not in places
    return (host if "host" in places else []), ([] if only_host else windows)


def path_of(argument: str) -> Path:
    """Return what an argument of pytest is the path of, if it is one."""
    return (HERE / argument.partition("::")[0]).resolve()


def is_test_path(argument: str) -> bool:
    """Tell whether an argument of pytest is a path."""
    # Path.exists raises for a long expression of -k, as for a name that is too long.
    return not argument.startswith("-") and os.path.exists(path_of(argument))  # noqa: PTH110


def has_tests(folder: str) -> bool:
    """Tell whether a folder of tests exists and holds any."""
    return any((HERE / folder).rglob("test_*.py"))


def require_compilers_of_proof() -> None:
    """See that the compilers are there that the proof of the declarations needs."""
    if sys.platform != "win32":
        require_programs(COMPILERS_OF_PROOF)


def require_load_generators_compiler() -> None:
    """See that the compiler is there that the load generator needs."""
    if sys.platform != "win32":
        require_programs(COMPILERS_OF_BENCHMARKS)


def require_file(name: str) -> str:
    """Return the name of a file of the project that must be there."""
    if not (HERE / name).is_file():
        raise Failure(f"{name} is not in this checkout")
    return name


def refuse(arguments: Sequence[str]) -> None:
    """Refuse arguments of a command that takes none."""
    if arguments:
        raise Failure(f"this command takes no arguments: {' '.join(arguments)}")


def report(results: dict[str, int]) -> int:
    """Say how each part went, and return the first exit code that is not zero."""
    for name, code in results.items():
        say(f"{name}: {'passed' if code == 0 else f'FAILED (exit code {code})'}")
    return next((code for code in results.values() if code), 0)


COMMANDS: dict[str, Callable[[Version, list[str]], int]] = {
    "demo": command_demo,
    "test": command_test,
    "check": command_check,
    "python": command_python,
    "shell": command_shell,
    "bench": command_bench,
    "soak": command_soak,
    "coverage": command_coverage,
    "setup": command_setup,
}


def parse(arguments: Sequence[str]) -> tuple[str, str | None, list[str]]:
    """Split the command line into the command, the version asked for and the rest."""
    rest = list(arguments)
    command: str | None = None
    version: str | None = None
    while rest:
        if rest[0] == "--python":
            if len(rest) == 1:
                raise Failure("--python needs a version, such as 3.12 or 3.13t")
            version, rest = rest[1], rest[2:]
        elif rest[0].startswith("--python="):
            version, rest = rest[0].removeprefix("--python="), rest[1:]
        elif command is None:
            command, rest = rest[0], rest[1:]
        else:
            break
    return command or "help", version, rest


def main() -> int:
    """Run the command that the command line names."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whoever starts this may have an older one)
        raise Failure(f"needs Python 3.11 or later; this is {platform.python_version()}")
    command, asked, arguments = parse(sys.argv[1:])
    if command in ("help", "-h", "--help"):
        print((__doc__ or "").strip(), flush=True)
        return 0
    if command not in COMMANDS:
        raise Failure(f"no command {command!r}; there are {', '.join(COMMANDS)}")
    return COMMANDS[command](Version(asked) if asked else Version.running(), arguments)


def guarded_main() -> int:
    """Run the command; have every failure be one line."""
    try:
        return main()
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept")
        return 130
    except Failure as failure:
        say(f"error: {failure}")
    except BrokenPipeError:
        # Who read our output has seen enough; Python would complain at its end, when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (OSError, zipfile.BadZipFile) as error:
        # shutil gathers errors of many files into one, and only the text of it tells the kind.
        full = "No space left" in str(error)
        text = " ".join(str(error).split())
        say(f"error: {'no disk space: ' if full else ''}{text[:300]}")
    return 1


if __name__ == "__main__":
    sys.exit(guarded_main())
