"""Completion: what became of one operation, as ``CompletionPort.wait`` hands it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import IocpError, error_of_status, failed
from ..winapi.errorcodes import error_name, status_name

if TYPE_CHECKING:
    from .packet import Packet


class Completion:
    """One completion packet: the end of exactly one operation.

    ``operation`` is the operation that ended, ``key`` the key of its handle (or the one
    given to ``CompletionPort.post``), ``bytes`` the number of bytes transferred,
    ``status`` the NTSTATUS that the kernel wrote. On a stream a receive that ends with 0
    bytes and no error means that the peer has shut down its sending side.

    A packet that no operation of this port accounts for, posted by other code on the raw
    handle, comes with ``operation=None`` and the number that it was posted with as key.

    Lifetime: a completion is a plain value. The buffers of its operation are the caller's
    again from the moment that it is handed out.
    """

    __slots__ = ("_error", "bytes", "key", "operation", "status")

    def __init__(
        self,
        operation: Packet | None,
        key: Any,
        count: int,
        status: int,
        error: OSError | None = None,
    ) -> None:
        self.operation = operation
        self.key = key
        self.bytes = count
        self.status = status
        self._error = error

    @property
    def error(self) -> OSError | None:
        """Why the operation failed, as an exception that can be raised; None if it did not.

        Made when it is first asked for: most completions are successes.
        """
        if self._error is None and failed(self.status):
            self._error = self._make_error()
        return self._error

    def _make_error(self) -> IocpError | None:
        operation = self.operation
        if operation is None:
            return error_of_status("the operation", self.status)
        if self.status in operation.ends.ordinary:
            return None
        return error_of_status(
            operation.function_name, self.status, operation, operation.winerror_of
        )

    @property
    def data(self) -> memoryview:
        """The bytes received, as a view of the operation's first buffer, without a copy."""
        if self.operation is None or not self.operation.buffers:
            return memoryview(b"")
        return memoryview(self.operation.buffers[0]).cast("B")[: self.bytes]

    @property
    def outcome(self) -> str:
        """How it ended, in Windows' own names: ``WSAECONNRESET (10054), STATUS_…``."""
        error = self.error
        status = status_name(self.status)
        if error is None:
            return status
        if not isinstance(error, IocpError):
            return repr(error)
        return f"{error_name(error.winerror)} ({error.winerror}), {status}"

    def __repr__(self) -> str:
        what = "packet" if self.operation is None else self.operation.kind
        told = "".join(f", {detail}" for detail in self._details())
        return (
            f"<{type(self).__name__} of {what}: key={self.key!r}, bytes={self.bytes}, "
            f"{self.outcome}{told}>"
        )

    def _details(self) -> list[str]:
        """Return what the repr says of this kind besides."""
        return []
