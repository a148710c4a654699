"""WINE: whether these tests run under Wine; what differs there is listed in CONTRIBUTING.md."""

from __future__ import annotations

import ctypes
import sys


def _version() -> tuple[int, ...]:
    """Return Wine's version; () on Windows."""
    if sys.platform != "win32":
        return ()
    ntdll = ctypes.WinDLL("ntdll")
    if not hasattr(ntdll, "wine_get_version"):
        return ()
    ntdll.wine_get_version.restype = ctypes.c_char_p
    text: str = ntdll.wine_get_version().decode()
    return tuple(int(part) for part in text.partition("-")[0].split("."))


WINE_VERSION = _version()
"""Such as (8, 0), Debian 12's, and (10, 0), Debian 13's; () on Windows."""

WINE = WINE_VERSION != ()
