"""Debian packages, installed with apt-get when a program is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence

from .cache import locked
from .failures import Failure
from .messages import progress
from .programs import call

PACKAGES = {
    "wine": ("wine", "wine64"),
    "wineserver": ("wine", "wine64"),
    "x86_64-w64-mingw32-gcc": ("gcc-mingw-w64-x86-64",),
    "i686-w64-mingw32-gcc": ("gcc-mingw-w64-i686",),
    "gcc": ("gcc", "libc6-dev"),
}
"""The programs that have to be on PATH, and the packages that bring them."""

WINE = ("wine", "wineserver")
COMPILER = ("x86_64-w64-mingw32-gcc",)

COMPILERS_OF_PROOF = ("x86_64-w64-mingw32-gcc", "i686-w64-mingw32-gcc")
"""What proves the declarations, for 64 and 32 bits."""

COMPILERS_OF_BENCHMARKS = ("gcc", "x86_64-w64-mingw32-gcc")
"""What makes the clients, which run on the host, and the server that is in C."""


def require_programs(programs: Iterable[str]) -> None:
    """See that programs are there, with apt-get if need be. On Windows, none is required."""
    missing = [program for program in programs if not shutil.which(program)]
    if not missing or sys.platform == "win32":
        return
    packages = sorted({name for program in missing for name in PACKAGES[program]})
    with locked():
        if any(not shutil.which(program) for program in missing):
            install(packages)
    still = [program for program in missing if not shutil.which(program)]
    if still:
        raise Failure(f"{' '.join(packages)} installed, but {', '.join(still)} is not on PATH")


def install(packages: Sequence[str]) -> None:
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
    command = [*apt, "install", "--no-install-recommends", *packages]
    with progress(f"installing {names} with apt-get"):
        try:
            call(command, "apt-get install")
        except Failure:
            # A fresh machine has no package lists yet, an old one has lists of versions that are
            # gone, and an interrupted installation has to be ended first.
            call([*prefix, "dpkg", "--configure", "-a"], "dpkg --configure -a")
            call([*apt, "update"], "apt-get update")
            call(command, f"apt-get install {names}")


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
