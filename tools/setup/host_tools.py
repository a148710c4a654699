"""The programs of the `dev` extra for the running interpreter: ruff, mypy, pytest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import host_pip, places
from .cache import files_under, replace_folder
from .children import run_inherited
from .extras import requirements
from .messages import progress
from .programs import call
from .steps import Step, set_up
from .versions import Version


class HostTools:
    """A folder of the cache with the tools in it: Debian's Python is not ours to change."""

    def __init__(self) -> None:
        self.root = places.CACHE / f"tools-{Version.running().text}"

    def set_up(self) -> None:
        """Install the tools, unless they are there."""
        wanted = requirements(["dev"])
        facts = (wanted, sys.version_info[:2], sys.platform, platform.machine())
        set_up([Step(self.root.name, facts, 250, lambda _: self.install(wanted))])

    def install(self, wanted: Sequence[str]) -> tuple[Path, list[Path]]:
        """Install into the folder."""
        new = self.root.with_name(f"{self.root.name}.partial")
        shutil.rmtree(new, ignore_errors=True)
        with progress(f"installing tools: {' '.join(wanted)}"):
            pip = [*host_pip.command(), "install", "--prefer-binary", "--no-warn-script-location"]
            call([*pip, "--target", str(new), *wanted], "installing tools")
            replace_folder(new, self.root)
        return self.root, files_under(self.root)

    def run(self, arguments: Sequence[str]) -> int:
        """Run a module of the tools in the project's folder and return its exit code."""
        path = os.pathsep.join([str(self.root), str(places.HERE)])
        # -S: plugins installed beside the interpreter are not loaded.
        command = [sys.executable, "-S", "-m", *arguments]
        return run_inherited(command, dict(os.environ, PYTHONPATH=path), places.HERE)
