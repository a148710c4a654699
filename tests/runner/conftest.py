"""Fixtures of the tests of run.py: the file as a module, and checkouts that may be broken."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from checkouts import ROOT, Checkout, clean_environment

sys.path.insert(0, str(ROOT))  # pytest may have been started without run.py

from tools.setup import places


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


def link_or_copy(source: str, target: str) -> None:
    """Have a file at another place as well; without a copy, on the same file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


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
        downloads = checkout.cache / "downloads"
        shutil.copytree(places.CACHE / "downloads", downloads, copy_function=link_or_copy)
        return checkout

    yield make
    for checkout in made:  # its Wine waits for commands that will not come
        for prefix in (checkout.cache / "wine", checkout.cache / "wine.partial"):
            if prefix.is_dir():
                environment = clean_environment() | {"WINEPREFIX": str(prefix)}
                subprocess.run(["wineserver", "-k"], env=environment, check=False)
        shutil.rmtree(checkout.root)
