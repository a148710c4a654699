"""The wheels that are fetched from PyPI, each pinned by its SHA-256.

With a new version of one of them, download it, compare its hash with the one that PyPI shows under
"Download files", and write it down here.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from . import host_pip, places
from .cache import replace_folder
from .failures import Failure
from .messages import progress
from .programs import call
from .versions import Version

PANDA3D = "panda3d==1.10.16"
"""The wheel that carries python.org's Windows builds, from 3.11 to 3.14 and free-threaded."""

PANDA3D_SHA256 = {
    "3.11": "37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82",
    "3.12": "f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f",
    "3.13": "0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f",
    "3.14": "0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853",
    "3.13t": "0c74016a5128e64257e6b5c3e3d5620ea0b0a6193a2cc453feaac2b9ecdc00f7",
    "3.14t": "66485e7518a58a078167f3f1c1b87d969089259df0409ec8d7d6cb2a9e800e41",
}
"""Of the wheel for each version of Python."""

PIP = "pip==25.3"
"""The pip that runs in Windows Python: a release whose option `legacy-certs` is known to work."""

PIP_SHA256 = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"


def windows_cpython(version: Version) -> Path:
    """Return the wheel that carries a version of Windows CPython."""
    if version.text not in PANDA3D_SHA256:
        raise Failure(
            f"no such package or version: {PANDA3D} carries Windows CPython "
            f"{', '.join(PANDA3D_SHA256)}, not {version.text}; choose one of these with --python"
        )
    return fetch(
        f"Windows CPython {version.text} (65 MB)",
        places.CACHE / "downloads" / f"cpython-{version.text}",
        [
            *("--platform", "win_amd64", "--implementation", "cp"),
            *("--python-version", version.minor, "--abi", f"cp{version.tag}"),
            PANDA3D,
        ],
        PANDA3D_SHA256[version.text],
    )


def pip() -> Path:
    """Return the wheel of pip."""
    return fetch("pip", places.CACHE / "downloads" / PIP, [PIP], PIP_SHA256)


def fetch(what: str, folder: Path, arguments: Sequence[str], sha256: str) -> Path:
    """Fetch one wheel into a folder of its own, unless it is there, and return its path.

    A file with another hash is refused, and fetched again if it was in the cache.
    """
    for wheel in folder.glob("*.whl"):
        if sha256_of(wheel) == sha256:
            return wheel
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [*host_pip.command(), "download", "--no-deps", "--only-binary=:all:"]
    with progress(f"fetching {what} from PyPI"):
        call([*command, "-d", str(partial), *arguments], f"fetching {what} ({arguments[-1]})")
        [wheel] = partial.glob("*.whl")
        found = sha256_of(wheel)
        if found != sha256:
            shutil.rmtree(partial)
            raise Failure(
                f"{wheel.name} has SHA-256 {found}, but tools/setup/downloads.py wants {sha256}: "
                "deleted, and nothing of it was used; see with `pip config list` whether it comes "
                "from PyPI or from another index, and try again with PyPI"
            )
        replace_folder(partial, folder)
    return folder / wheel.name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as PyPI writes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
