"""Versions of Python as the user writes them: 3.13, or 3.13t without a GIL."""

from __future__ import annotations

import re
import sys
import sysconfig

from .failures import Failure


class Version:
    """A minor version of CPython: `3.13`, or `3.13t` when free-threaded."""

    def __init__(self, text: str) -> None:
        match = re.fullmatch(r"3\.(\d+)(t?)", text)
        if not match:
            raise Failure(f"--python {text}: not a version like 3.12 or 3.13t")
        if int(match[1]) < 11:
            raise Failure(f"--python {text}: pyiocp needs Python 3.11 or later")
        if match[2] and int(match[1]) < 13:
            raise Failure(f"--python {text}: free-threaded builds begin with 3.13t")
        self.text = text
        self.minor = f"3.{match[1]}"
        self.free_threaded = bool(match[2])
        self.tag = f"3{match[1]}{match[2]}"  # as in python313t.dll and cp313t

    @classmethod
    def running(cls) -> Version:
        """Return the version of the running interpreter."""
        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
        return cls(f"3.{sys.version_info.minor}{'t' * free_threaded}")
