"""Checkouts of run.py and tools/setup that tests may break, and the environment to run it in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SMALL_PROJECT = """\
[project]
name = "pyiocp"

[project.optional-dependencies]
test = ["iniconfig"]
cli = ["pyiocp[test]"]
bench = []
examples = []
dev = ["pyiocp[cli]"]
"""


class Checkout:
    """A checkout of run.py with a cache of its own and a project that requires very little."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / ".cache"
        root.mkdir()
        shutil.copy(ROOT / "run.py", root)
        no_bytecode = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tools" / "setup", root / "tools" / "setup", ignore=no_bytecode)
        shutil.copy(ROOT / "tools" / "__init__.py", root / "tools")
        (root / "pyproject.toml").write_text(SMALL_PROJECT, encoding="utf-8")

    def command(self, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """Return the command that runs this checkout's run.py, with options of Python."""
        return [sys.executable, *options, str(self.root / "run.py"), *arguments]

    def run(
        self,
        *arguments: str,
        options: Sequence[str] = (),
        cwd: Path | None = None,
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Run this checkout's run.py to its end."""
        return subprocess.run(
            self.command(*arguments, options=options),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=self.environment() | environment,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment in which this checkout uses its own cache."""
        return {k: value for k, value in clean_environment().items() if k != "PYIOCP_CACHE"}


def clean_environment() -> dict[str, str]:
    """Return the environment without what the runner of these tests has put there."""
    ours = ("PYTHONPATH", "COV_", "COVERAGE_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
