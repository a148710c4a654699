"""The wheel that users install."""

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from checkouts import ROOT, clean_environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy: setuptools leaves a build folder where it works."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.cfg", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "pyiocp", source / "pyiocp")
    shutil.copytree(ROOT / "tests" / "runner", source / "tests" / "runner")
    (source / "README.md").touch()
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(source)]
    subprocess.run(pip, check=True, env=clean_environment())
    (file,) = target.iterdir()
    return file


def test_the_wheel_is_pure(wheel: Path) -> None:
    """One wheel serves every version and platform: there is nothing in it to compile."""
    assert wheel.name == "pyiocp-0.1.0-py3-none-any.whl"


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """No tests, tools or examples land in a user's site-packages; the type marker does."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names} == {"pyiocp", "pyiocp-0.1.0.dist-info"}
    assert "pyiocp/py.typed" in names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pyiocp").rglob("*.py")}
    assert sources <= set(names)


def test_the_wheel_requires_nothing(wheel: Path) -> None:
    """Without an extra, pip installs pyiocp and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("pyiocp-0.1.0.dist-info/METADATA").decode()
        entries = archive.read("pyiocp-0.1.0.dist-info/entry_points.txt").decode()
    required = Parser().parsestr(text).get_all("Requires-Dist") or []
    assert [line for line in required if "extra ==" not in line] == []
    assert "pyiocp = pyiocp.__main__:main" in entries
