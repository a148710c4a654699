"""Wine: its prefix, the environment of programs in it, and its server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from . import places
from .failures import Failure
from .messages import progress
from .programs import call
from .steps import Step

LINGER_SECONDS = 30
"""How long Wine's background processes wait for the next command; starting them takes 1.5 s."""

SYSTEM = Path("drive_c", "windows", "system32")


def prefix_step() -> Step:
    """Return the step that makes the prefix; another Wine has it made again."""
    program = Path(shutil.which("wine") or "wine").stat()
    return Step("wine", (program.st_size, program.st_mtime_ns), 800, make_prefix)


def prefix() -> Path:
    """Return the folder in which Wine keeps its Windows."""
    return places.CACHE / "wine"


def make_prefix(_damaged: bool) -> tuple[Path, list[Path]]:
    """Make the folder in which Wine keeps its Windows."""
    final = prefix()
    new = final.with_name("wine.partial")
    env = environment(new)
    with progress("making a Windows for Wine"):
        for left_over in (new, final):
            if left_over.exists():  # interrupted or broken; its server would go on writing to it
                end_server(left_over)
                shutil.rmtree(left_over, ignore_errors=True)
        new.mkdir(parents=True)
        call(["wine", "wineboot", "-i"], "Wine fails to make its Windows", env)
        call(["wine", "winecfg", "-v", "win10"], "Wine fails to become Windows 10", env)
        call(["wineserver", "-w"], "Wine does not end", env)
        if not (new / SYSTEM / "kernel32.dll").is_file():
            raise Failure("Wine made a Windows without kernel32.dll: is Wine all there?")
        new.rename(final)
    names = ("ntdll", "kernel32", "kernelbase", "ucrtbase", "advapi32", "ws2_32", "mswsock")
    return final, [final / SYSTEM / f"{name}.dll" for name in names]


def environment(folder: Path | None = None) -> dict[str, str]:
    """Return the environment for Wine, with this prefix or ours, and for Windows Python in it."""
    # Paths of the host's Python would mislead the Windows one. Nothing here needs a display.
    unwanted = {
        *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE"),
        *("PYTHONPYCACHEPREFIX", "PYTHONPLATLIBDIR", "DISPLAY", "WAYLAND_DISPLAY"),
    }
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env["WINEPREFIX"] = str(folder or prefix())
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


def keep_warm() -> None:
    """Start Wine's server, if it is not there, so that it waits a while after its last program."""
    subprocess.run(
        ["wineserver", f"-p{LINGER_SECONDS}"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def end_server(folder: Path) -> None:
    """End every program of a Wine prefix, and its server."""
    command = ["wineserver", "-k"]
    subprocess.run(command, env=environment(folder), capture_output=True, check=False)


def windows_path(path: Path) -> str:
    """Return the name of a file of the host as Windows programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")
