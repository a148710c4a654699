"""What sets the options of a session's socket, whichever kind of session it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import HandleClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

_H_co = TypeVar("_H_co", covariant=True)


class Below(Protocol[_H_co]):
    """What is below a session, as far as its socket goes."""

    @property
    def socket(self) -> _H_co:
        """The socket; RuntimeError before there is one, `HandleClosedError` after."""


def configured(below: Below[_H_co], setting: Callable[[_H_co], None]) -> bool:
    """Apply a setting to the socket below a session; return False if there is none any more."""
    try:
        setting(below.socket)
    except HandleClosedError:
        return False
    return True


def no_socket(session: object, connecting: bool) -> Exception:
    """Return the error for a session that has no socket: not yet, or no longer, or never."""
    if connecting:
        return RuntimeError(f"{session!r} has no socket before on_connect()")
    return HandleClosedError(f"{session!r} has no socket: it has ended, or was never connected")
