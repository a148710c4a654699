"""The pip of the running Python, and its settings."""

from __future__ import annotations

import re
import subprocess
import sys

from . import debian
from .failures import Failure


def command() -> list[str]:
    """Return the command of the host's pip, which Debian packs apart from Python."""
    pip = [sys.executable, "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True, check=False).returncode:
        if not sys.executable.startswith("/usr/bin/"):
            raise Failure(f"{sys.executable} has no pip; try: {sys.executable} -m ensurepip")
        debian.install(["python3-pip"])
    return [*pip, "--disable-pip-version-check", "--no-input"]


def settings() -> dict[str, str]:
    """Return what is set for all commands and for `install`: mirrors, certificates and so on."""
    listed = subprocess.run(
        [*command(), "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return dict(re.findall(r"(?m)^(?:global|install|:env:)\.([\w-]+)='(.*)'$", listed))
