"""Where this machine has the standard library of a version of Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from .failures import Failure


def find(minor: str) -> Path:
    """Find the host's standard library of a minor version."""
    # Debian splits the library over packages; these three are not all in its smallest one.
    parts = ("os.py", "asyncio/windows_events.py", "ctypes/wintypes.py")
    for folder in candidates(minor):
        if all((folder / part).is_file() for part in parts):
            return folder
    raise Failure(
        f"no standard library of Python {minor} on this machine (not in the running interpreter, "
        f"python{minor} on PATH, ~/.pyenv/versions, /usr/lib or /usr/local/lib): "
        f"install Python {minor}, or choose another version with --python"
    )


def candidates(minor: str) -> Iterator[Path]:
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
    """Return the 7 of a folder named 3.11.7, and -1 if its name is not like that."""
    match = re.fullmatch(r"3\.\d+\.(\d+)t?", path.name)
    return int(match[1]) if match else -1
