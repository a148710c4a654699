"""WINE: whether these tests run under Wine; what differs there is listed in CONTRIBUTING.md."""

from __future__ import annotations

import ctypes
import sys

WINE = sys.platform == "win32" and hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")
