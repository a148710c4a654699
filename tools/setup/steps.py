"""The steps of the set-up, and the records of those that are done."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from . import places
from .cache import locked, require_space


class Step:
    """A part of the set-up, and the record that it was done, from what, leaving which files.

    The record is written last and by renaming, so that an interrupted step has none and is done
    again. It holds the size of every file that the step left: a truncated or missing file makes
    the step undone.
    """

    def __init__(
        self,
        name: str,
        facts: object,
        space_mb: int,
        work: Callable[[bool], tuple[Path, list[Path]]],
    ) -> None:
        """Say what the step is made from, and which function does it.

        `work(damaged)` returns a folder and the files under it that have to stay as they are.
        `damaged` is true if the step was done before and its files have changed since: then what
        looks finished may not be.
        """
        self.space_mb = space_mb
        self.record = places.CACHE / "done" / f"{name}.json"
        self.made_from = hashlib.sha256(repr((facts, name)).encode()).hexdigest()
        self.work = work

    def was_done(self) -> bool:
        """Tell whether the step was done from the same facts, whatever became of its files."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(self.record.read_text(encoding="utf-8"))
            return bool(record["made_from"] == self.made_from)
        return False  # no record, or a damaged one

    def is_done(self) -> bool:
        """Tell whether the step was done from the same facts and its files are all there."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            record = json.loads(self.record.read_text(encoding="utf-8"))
            root, sizes = places.CACHE / record["root"], record["files"]
            # Thousands of files at every start: a Path for each would cost 50 ms.
            return record["made_from"] == self.made_from and all(
                os.stat(f"{root}/{name}").st_size == size  # noqa: PTH116
                for name, size in sizes.items()
            )
        return False  # no record, a damaged one, or a file that is gone

    def do(self) -> None:
        """Do the work and record it."""
        damaged = self.was_done()
        self.forget()
        root, files = self.work(damaged)
        sizes = {path.relative_to(root).as_posix(): path.stat().st_size for path in files}
        # The root is relative, so that a checkout can be moved with what it has cached.
        relative = os.path.relpath(root, places.CACHE)
        record = {"made_from": self.made_from, "root": relative, "files": sizes}
        self.record.parent.mkdir(parents=True, exist_ok=True)
        partial = self.record.with_suffix(".partial")
        partial.write_text(json.dumps(record), encoding="utf-8")
        partial.replace(self.record)

    def forget(self) -> None:
        """Have the step done again next time."""
        self.record.unlink(missing_ok=True)


def set_up(steps: Sequence[Step], *, again: bool = False) -> None:
    """Do the steps that are not done yet, or all of them again."""
    if not again and all(step.is_done() for step in steps):
        return  # all that a second start has to do
    with locked():
        if not again and all(step.is_done() for step in steps):
            return  # the run.py that held the lock did it
        require_space(sum(step.space_mb for step in steps if again or not step.is_done()))
        for step in steps:
            if again or not step.is_done():
                step.do()
