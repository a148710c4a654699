"""What pyproject.toml requires, by its extras.

pip installs these by the ranges of versions written there, without hashes: they are what users
and their tools get, too. Only what Windows Python itself is made of is pinned (see `downloads`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence

from . import places

EXTRAS = ("test", "cli", "examples", "bench")
"""The extras that every command has in Windows Python."""

NOT_FREE_THREADED = ("bench", "peers")
"""Extras without a build for free-threaded Python: they are left out there."""

NEEDS_UNDER_WINE = {"matplotlib": "numpy<2.2"}
"""What a package needs as well under Wine 8, whose C runtime lacks crealf: newer ones call it."""


def requirements(extras: Iterable[str]) -> list[str]:
    """Return what the named extras of pyproject.toml require, extras of extras included."""
    with (places.HERE / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    found: set[str] = set()
    for extra in extras:
        for line in project["optional-dependencies"][extra]:
            nested = re.fullmatch(rf"{project['name']}\[([\w,-]+)\]", line)
            found.update(requirements(nested[1].split(",")) if nested else [line])
    return sorted(found)


def requirements_under_wine(extras: Sequence[str]) -> list[str]:
    """Return what the extras require, and what their packages need as well under Wine."""
    wanted = requirements(extras)
    names = [re.split(r"\W", line)[0] for line in wanted]
    return wanted + [needed for name, needed in NEEDS_UNDER_WINE.items() if name in names]
