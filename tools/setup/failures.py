"""`Failure`, which becomes one line, and what the last words of a failed program mean."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable

from .messages import say

KNOWN_FAILURES = {
    "no disk space": r"No space left on device|Errno 28|enough free space|disk full",
    "no such package or version on the package registry": r"No matching distribution found",
    "no network, or the package registry does not answer": (
        r"ame resolution|Temporary failure resolving|NewConnectionError|Failed to establish"
        r"|Network is unreachable|Could not connect|Connection refused|getaddrinfo failed"
        r"|timed out|ProxyError|SSLError"
    ),
}
"""What the output of a failed program means, by what is found in it; the last match counts."""


class Failure(Exception):  # the machine lacks something; this program is right
    """Something the user has to know, in one line."""


def reason(output: str, status: int) -> str:
    """Tell from a failed program's output what the user has to know."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if re.match(r"(?i)E:|(\w+: )?(fatal )?error\b", line)]
    detail = (telling or lines or ["no message"])[-1]
    meanings = [text for text, pattern in KNOWN_FAILURES.items() if re.search(pattern, output)]
    if meanings:
        return f"{meanings[-1]} ({detail})"
    return f"{detail} (exit code {status})"


def exit_code(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; a failure is said in one line, and is a 1."""
    try:
        return command()
    except KeyboardInterrupt:
        say("interrupted; what was finished is kept")
        return 130
    except Failure as failure:
        say(f"error: {failure}")
    except BrokenPipeError:
        # The reader of our output has seen enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (OSError, zipfile.BadZipFile) as error:
        # shutil gathers the errors of many files into one, whose kind only its text tells.
        full = "No space left" in str(error)
        text = " ".join(str(error).split())
        say(f"error: {'no disk space: ' if full else ''}{text[:300]}")
    return 1
