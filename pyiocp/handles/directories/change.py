"""Changes in a directory, and how they are made of what the kernel writes into a buffer.

The kernel writes a chain of FILE_NOTIFY_INFORMATION entries. A rename is two of them, the
old name and then the new one, which need not be in the same buffer: NTFS completes a
waiting request with the old name alone. So each watch has a `Renames`, which remembers an
old name from one buffer to the next.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...winapi import (
    FILE_ACTION_ADDED,
    FILE_ACTION_REMOVED,
    FILE_ACTION_RENAMED_NEW_NAME,
    FILE_ACTION_RENAMED_OLD_NAME,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = struct.Struct("<III")
"""NextEntryOffset, Action, FileNameLength; the name follows."""


class ChangeAction(enum.Enum):
    """What has happened to a file or directory."""

    ADDED = "added"
    """It was made, or moved into what is watched."""
    REMOVED = "removed"
    """It was deleted, or moved out of what is watched."""
    MODIFIED = "modified"
    """Its content, size, times, attributes or rights have changed."""
    RENAMED = "renamed"
    """It has another name now, or is in another directory that is watched."""


@dataclass(frozen=True, slots=True)
class Change:
    r"""A change of one file or directory below the watched one.

    ``action`` is what has happened to it, ``name`` its path, relative to the watched
    directory: ``"folder\\file"``. ``old_name`` is what it was called before a rename, and
    None otherwise. A plain value.
    """

    action: ChangeAction
    name: str
    old_name: str | None = None


@dataclass(frozen=True, slots=True)
class Overflow:
    """More has changed than the kernel had room to tell: list the directory again.

    What came before it is right; what is left out may be anything. A plain value.
    """


def parse_entries(data: bytes | bytearray | memoryview) -> list[tuple[int, str]]:
    """Return action and name of each entry of a chain of FILE_NOTIFY_INFORMATION.

    data: exactly the bytes that the kernel has written. Names are UTF-16; lone surrogates,
    which Windows allows in names, are kept.

    Raises ValueError if the chain is malformed.

    Source: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-file_notify_information
    """
    view = memoryview(data).cast("B")
    entries: list[tuple[int, str]] = []
    at = 0
    while True:
        if at + _HEAD.size > len(view):
            raise ValueError(f"entry {len(entries)} at byte {at} of {len(view)} has no head")
        next_offset, action, size = _HEAD.unpack_from(view, at)
        end = at + _HEAD.size + size
        if size % 2 or end > len(view):
            raise ValueError(f"entry {len(entries)} at byte {at} has a name of {size} bytes")
        name = str(view[at + _HEAD.size : end], "utf-16-le", "surrogatepass")
        entries.append((action, name))
        if not next_offset:
            return entries
        # Windows aligns entries to 4 bytes, Wine does not: nothing here depends on it.
        if at + next_offset < end:
            raise ValueError(f"entry {len(entries)} begins {next_offset} bytes after byte {at}")
        at += next_offset


class Renames:
    """Turns entries into changes, and keeps an old name until the new one comes.

    One thread at a time may use it.
    """

    def __init__(self) -> None:
        self._old_name: str | None = None

    def changes(self, entries: Iterable[tuple[int, str]]) -> list[Change | Overflow]:
        """Return the changes that the entries of the next buffer stand for."""
        changes: list[Change | Overflow] = []
        for action, name in entries:
            if action == FILE_ACTION_RENAMED_NEW_NAME:
                changes.append(self._renamed_to(name))
                continue
            changes += self.leave_off()
            if action == FILE_ACTION_RENAMED_OLD_NAME:
                self._old_name = name
            elif action == FILE_ACTION_ADDED:
                changes.append(Change(ChangeAction.ADDED, name))
            elif action == FILE_ACTION_REMOVED:
                changes.append(Change(ChangeAction.REMOVED, name))
            else:
                # FILE_ACTION_MODIFIED, or an action of a later version of Windows.
                changes.append(Change(ChangeAction.MODIFIED, name))
        return changes

    def leave_off(self) -> list[Change | Overflow]:
        """Return the change for an old name whose new name has not come, if there is one."""
        old_name, self._old_name = self._old_name, None
        return [] if old_name is None else [Change(ChangeAction.REMOVED, old_name)]

    def _renamed_to(self, name: str) -> Change:
        old_name, self._old_name = self._old_name, None
        if old_name is None:
            return Change(ChangeAction.ADDED, name)
        return Change(ChangeAction.RENAMED, name, old_name)
