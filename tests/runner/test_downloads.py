"""What run.py fetches is what it expects, by its SHA-256; anything else is refused."""

import hashlib
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from checkouts import ROOT, Checkout

from tools.setup import downloads, host_pip, places
from tools.setup.failures import Failure
from tools.setup.versions import Version

GOOD = b"what was tried"
GOOD_SHA256 = hashlib.sha256(GOOD).hexdigest()
OTHER = b"something else"
OTHER_SHA256 = hashlib.sha256(OTHER).hexdigest()

FakePip = Callable[[bytes | None], None]


@pytest.fixture
def fake_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakePip:
    """Return a function that has pip fetch a wheel of these bytes, or nothing."""
    script = tmp_path / "pip.py"
    monkeypatch.setattr(places, "CACHE", tmp_path)
    monkeypatch.setattr(host_pip, "command", lambda: [sys.executable, str(script)])

    def fetch(data: bytes | None) -> None:
        script.write_text(
            "import pathlib, sys\n"
            f"if {data} is None: sys.exit('error: it was asked')\n"
            "folder = pathlib.Path(sys.argv[sys.argv.index('-d') + 1])\n"
            "folder.mkdir(parents=True)\n"
            f"(folder / 'name.whl').write_bytes({data})"
        )

    return fetch


def fetch(folder: Path) -> Path:
    """Fetch the wheel that is good."""
    return downloads.fetch("a wheel", folder, ["wheel==1"], GOOD_SHA256)


def test_the_expected_wheel_is_taken(fake_pip: FakePip, tmp_path: Path) -> None:
    """It lands in its folder; after that, pip is not asked any more."""
    fake_pip(GOOD)
    wheel = fetch(tmp_path / "folder")
    assert (wheel, wheel.read_bytes()) == (tmp_path / "folder" / "name.whl", GOOD)
    fake_pip(None)
    assert fetch(tmp_path / "folder") == wheel


def test_a_wheel_with_another_hash_is_refused(fake_pip: FakePip, tmp_path: Path) -> None:
    """The error has the file, both hashes and what to do; the file is not kept anywhere."""
    fake_pip(OTHER)
    with pytest.raises(Failure) as caught:
        fetch(tmp_path / "folder")
    text = str(caught.value)
    wanted = ("name.whl", GOOD_SHA256, OTHER_SHA256, "pip config list", "try again")
    assert [word for word in wanted if word not in text] == []
    assert "\n" not in text
    assert list(tmp_path.rglob("*.whl")) == []


def test_an_altered_wheel_in_the_cache_is_fetched_again(fake_pip: FakePip, tmp_path: Path) -> None:
    """What was fetched before is looked at as well, before it is used."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "name.whl").write_bytes(OTHER)
    fake_pip(GOOD)
    assert fetch(tmp_path / "folder").read_bytes() == GOOD
    (tmp_path / "folder" / "name.whl").write_bytes(OTHER)
    fake_pip(OTHER)
    with pytest.raises(Failure, match=OTHER_SHA256):
        fetch(tmp_path / "folder")


@pytest.mark.parametrize("version", downloads.PANDA3D_SHA256)
def test_each_windows_cpython_is_pinned(fake_pip: FakePip, version: str) -> None:
    """No version of Python is taken without its own hash."""
    fake_pip(OTHER)
    with pytest.raises(Failure, match=f"wants {downloads.PANDA3D_SHA256[version]}"):
        downloads.windows_cpython(Version(version))


def test_pip_is_pinned(fake_pip: FakePip) -> None:
    """Nor is pip."""
    fake_pip(OTHER)
    with pytest.raises(Failure, match=f"wants {downloads.PIP_SHA256}"):
        downloads.pip()


def test_there_is_a_hash_for_each_version_that_is_tested() -> None:
    """The versions are those of continuous integration on Windows; no two have the same file."""
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    [line] = re.findall(r"^ +python: (\[.*\])$", text, re.MULTILINE)
    hashes = downloads.PANDA3D_SHA256
    assert sorted(hashes) == sorted(re.findall(r'"(.*?)"', line))
    assert len(set(hashes.values())) == len(hashes)
    assert [text for text in hashes.values() if not re.fullmatch("[0-9a-f]{64}", text)] == []


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is fetched there")
def test_the_command_refuses_another_wheel(empty_checkout: Checkout) -> None:
    """An index that has another file under the right name is noticed, and none of it is used."""
    version = Version.running()
    links = empty_checkout.root / "links"
    links.mkdir()
    tags = f"cp3{version.minor[2:]}-cp{version.tag}-win_amd64"
    with zipfile.ZipFile(links / f"panda3d-1.10.16-{tags}.whl", "w") as wheel:
        info = "panda3d-1.10.16.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: panda3d\nVersion: 1.10.16")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tags}")
        wheel.writestr("deploy_libs/python3.dll", "another python3.dll")
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links), "PIP_CONFIG_FILE": os.devnull}
    done = empty_checkout.run("python", "-c", "pass", **settings)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    begun, error = done.stderr.splitlines()
    assert begun.startswith("run.py: fetching Windows CPython")
    assert error.startswith(f"run.py: error: panda3d-1.10.16-{tags}.whl has SHA-256 ")
    assert downloads.PANDA3D_SHA256[version.text] in error
    assert sorted(path.name for path in empty_checkout.cache.rglob("*")) == ["downloads", "lock"]
