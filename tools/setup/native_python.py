"""Windows Python on Windows: a virtual environment with the project installed as it stands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import extras, places
from .cache import files_under
from .children import run_inherited
from .failures import Failure
from .messages import progress
from .programs import call
from .steps import Step, set_up
from .versions import Version


class NativePython:
    """A virtual environment beside run.py."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.root = places.HERE / f".venv-{version.text}"
        self.program = self.root / "Scripts" / "python.exe"

    def set_up(self, names: Sequence[str]) -> None:
        """Make the environment and install what the extras require, unless it is done."""
        joined, here = ",".join(sorted(names)), str(places.HERE)
        wanted = (extras.requirements(names), here)
        name = f"venv-{self.version.text}"
        make = Step(name, here, 100, self.make)
        install = Step(f"{name}-{joined}", wanted, 200, lambda _: self.install(joined))
        set_up([make, install])

    def make(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Make the virtual environment."""
        base = find(self.version)
        with progress(f"making {self.root.name}"):
            call([base, "-m", "venv", "--clear", self.root], f"making {self.root.name}")
        return self.root, [self.program, self.root / "pyvenv.cfg"]

    def install(self, names: str) -> tuple[Path, list[Path]]:
        """Install the project, editable, with its extras."""
        with progress(f"installing pyiocp[{names}]"):
            pip = [str(self.program), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
            project = f"{places.HERE}[{names}]"
            call([*pip, "--prefer-binary", "-e", project], f"installing pyiocp[{names}]")
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


def find(version: Version) -> str:
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
