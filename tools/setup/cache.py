"""The cache: its lock, its disk space and its folders."""

from __future__ import annotations

import contextlib
import errno
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from . import places
from .failures import Failure
from .messages import say

lock_depth = 0


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep a second run.py from setting up the same thing at the same time; may be nested."""
    global lock_depth
    places.CACHE.mkdir(parents=True, exist_ok=True)
    with (places.CACHE / "lock").open("a+b") as file:
        if lock_depth == 0 and not try_lock(file):
            say("waiting for another run.py that is setting up")
            while not try_lock(file):
                time.sleep(0.1)
        lock_depth += 1
        try:
            yield  # closing the file releases the lock, and so does being killed
        finally:
            lock_depth -= 1


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock if it is free."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 (not there on other systems)

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 (not there on Windows)

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def require_space(needed_mb: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free_mb = shutil.disk_usage(places.CACHE).free // 1_000_000
    if free_mb < needed_mb:
        raise Failure(
            f"no disk space: {free_mb} MB free in {places.CACHE}, set-up needs {needed_mb} MB"
        )


def files_under(folder: Path) -> list[Path]:
    """List the files under a folder, without those that Python adds as it runs."""
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__"
    ]


def replace_folder(new: Path, final: Path) -> None:
    """Put a finished folder in its place; programs that use the old one keep their open files."""
    old = final.with_name(f"{final.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)
