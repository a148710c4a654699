"""What mingw-w64's headers lack, stated a second time from another source.

Such a declaration is proven like every other, against the C given here, which was
written from the source named and not from the declaration. A name that the headers have
after all, or that nobody declares any more, makes the proof fail: this list holds what
is needed and no more.

What belongs here: facts of Windows' interface, with their source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absent:
    """Names that belong together, and C that declares them."""

    names: tuple[str, ...]
    source: str
    c: str


@dataclass(frozen=True)
class Different:
    """A declaration of mingw-w64's that differs from Microsoft's own."""

    subject: str
    """A function, an alias, or a structure and its field."""
    headers: str
    """Its C type there."""
    sdk: str
    """Its C type in the Windows SDK."""
    source: str


ABSENT: tuple[Absent, ...] = ()

DIFFERENT: tuple[Different, ...] = ()

HIDDEN: dict[str, str] = {}
