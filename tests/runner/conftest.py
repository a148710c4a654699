"""What the tests of run.py share: the file as a module, and checkouts that may be broken."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]

SMALL_PROJECT = """\
[project]
name = "pyiocp"

[project.optional-dependencies]
test = ["iniconfig"]
cli = ["pyiocp[test]"]
dev = ["pyiocp[cli]"]
"""


@pytest.fixture(scope="session")
def run() -> ModuleType:
    """Return run.py as a module."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def ready() -> None:
    """See that the set-up of this checkout is done, so that no test measures it."""
    subprocess.run([sys.executable, ROOT / "run.py", "python", "-c", "pass"], check=True)


class Checkout:
    """A checkout of run.py with a cache of its own and a project that requires very little."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cache = root / ".cache"
        root.mkdir()
        shutil.copy(ROOT / "run.py", root)
        (root / "pyproject.toml").write_text(SMALL_PROJECT, encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs this checkout's run.py."""
        return [sys.executable, str(self.root / "run.py"), *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run this checkout's run.py to its end."""
        return subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=clean_environment() | environment,
            check=False,
        )


def clean_environment() -> dict[str, str]:
    """Return the environment without what the runner of these tests has put there."""
    ours = ("PYTHONPATH", "PYIOCP_CACHE", "COV_", "COVERAGE_", "PYTEST_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture
def empty_checkout(tmp_path: Path) -> Checkout:
    """Return a checkout without anything in its cache."""
    return Checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def make_checkout(
    ready: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Checkout]]:
    """Return a function that makes a checkout which need not download the interpreter."""
    made: list[Checkout] = []

    def make(name: str) -> Checkout:
        checkout = Checkout(tmp_path_factory.mktemp("runner") / name)
        made.append(checkout)
        downloads = ROOT / ".cache" / "downloads"
        shutil.copytree(downloads, checkout.cache / "downloads", copy_function=os.link)
        return checkout

    yield make
    for checkout in made:  # its Wine waits for commands that will not come
        for prefix in (checkout.cache / "wine", checkout.cache / "wine.partial"):
            if prefix.is_dir():
                environment = clean_environment() | {"WINEPREFIX": str(prefix)}
                subprocess.run(["wineserver", "-k"], env=environment, check=False)
        shutil.rmtree(checkout.root)
