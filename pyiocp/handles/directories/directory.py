"""Directory: watches a directory, and what is below it, from a completion port.

ReadDirectoryChangesW is a request that completes when something has changed. From the first
request until the handle is closed, the kernel records what changes while no request is pending,
in a buffer as large as that of the first request. If that is too small for everything that
changes before the next request, the kernel discards all of it and reports an overflow.

So a watch has two requests with a buffer each. When one completes, the other is posted before the
first one's buffer is read: the kernel's buffer only has to hold what changes in between. Changes
are handed over in the order in which the kernel reported them, even with several threads.

A watch ends with an error, in its last completion: the handle was closed, the watch was cancelled,
the directory is gone, or the system refused the next request.
"""

from __future__ import annotations

import ctypes
import enum
import logging
import os
import threading
from collections import deque
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...engine.completion import Completion
from ...engine.inbox import Inbox
from ...engine.operation import Operation
from ...errors import (
    WINERROR_OF,
    HandleClosedError,
    IocpError,
    PortClosedError,
    error_of_code,
    error_of_status,
    failed,
)
from ...winapi import (
    BOOL,
    DWORD,
    FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OVERLAPPED,
    FILE_LIST_DIRECTORY,
    FILE_NOTIFY_CHANGE_ATTRIBUTES,
    FILE_NOTIFY_CHANGE_CREATION,
    FILE_NOTIFY_CHANGE_DIR_NAME,
    FILE_NOTIFY_CHANGE_FILE_NAME,
    FILE_NOTIFY_CHANGE_LAST_ACCESS,
    FILE_NOTIFY_CHANGE_LAST_WRITE,
    FILE_NOTIFY_CHANGE_SECURITY,
    FILE_NOTIFY_CHANGE_SIZE,
    FILE_SHARE_DELETE,
    FILE_SHARE_READ,
    FILE_SHARE_WRITE,
    HANDLE,
    INVALID_HANDLE_VALUE,
    OPEN_EXISTING,
)
from ...winapi.errorcodes import (
    ERROR_FILE_NOT_FOUND,
    ERROR_OPERATION_ABORTED,
    STATUS_CANCELLED,
    STATUS_DELETE_PENDING,
    STATUS_FILE_DELETED,
    STATUS_NOTIFY_CLEANUP,
    STATUS_NOTIFY_ENUM_DIR,
)
from ..handle import Handle
from .change import Change, Overflow, Renames, parse_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.home import Home

logger = logging.getLogger("pyiocp")

#: A single name may take 520 bytes, and the kernel allocates as much again for each buffer.
BUFFER_MIN, BUFFER_MAX = 1024, 1 << 24


class NotifyFilter(enum.IntFlag):
    """Which changes a `Directory` tells of. A plain value.

    Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesw
    """

    FILE_NAME = FILE_NOTIFY_CHANGE_FILE_NAME
    """A file was made, deleted or renamed."""
    DIRECTORY_NAME = FILE_NOTIFY_CHANGE_DIR_NAME
    """A directory was made, deleted or renamed."""
    ATTRIBUTES = FILE_NOTIFY_CHANGE_ATTRIBUTES
    SIZE = FILE_NOTIFY_CHANGE_SIZE
    """The size on disk has changed, which may be some time after the write."""
    LAST_WRITE = FILE_NOTIFY_CHANGE_LAST_WRITE
    LAST_ACCESS = FILE_NOTIFY_CHANGE_LAST_ACCESS
    CREATION = FILE_NOTIFY_CHANGE_CREATION
    SECURITY = FILE_NOTIFY_CHANGE_SECURITY
    """The owner, or who may do what, has changed."""
    DEFAULT = FILE_NAME | DIRECTORY_NAME | SIZE | LAST_WRITE


class DirectoryCompletion(Completion):
    """What a watch has to tell: ``changes``, or ``error`` as the last thing. A plain value.

    ``changes`` are `Change` and `Overflow` objects, in the order in which it happened. They
    may be none: half of a rename, whose other half comes next.
    """

    __slots__ = ("changes",)

    def __init__(
        self,
        operation: Operation,
        key: Any,
        count: int,
        status: int,
        error: OSError | None,
        changes: list[Change | Overflow],
    ) -> None:
        super().__init__(operation, key, count, status, error)
        self.changes = changes

    def _details(self) -> list[str]:
        return [f"{len(self.changes)} changes"]

    @property
    def data(self) -> memoryview:
        """Empty: the buffer is the watch's own, and in use again."""
        return memoryview(b"")


class ReadChanges(Operation):
    """One request of a watch, which posts it again and again."""

    __slots__ = ("_directory", "refusal")

    def __init__(self, directory: Directory, buffer: bytearray) -> None:
        super().__init__(directory, "watch")
        self._directory = directory
        self.refusal: OSError | None = None
        """Why it could not be posted while the watch went on."""
        # Lifetime: the kernel writes here; the operation keeps the buffer, the in-flight table
        # keeps the operation. malloc aligns a bytearray of this size to more than the 4 bytes
        # that the kernel requires.
        self.buffers = (buffer,)
        self._calls(
            "ReadDirectoryChangesW",
            directory.home.kernel.ReadDirectoryChangesW,
            0,
            HANDLE(directory.number),
            ctypes.byref(ctypes.c_char.from_buffer(buffer)),
            DWORD(len(buffer)),
            BOOL(directory.recursive),
            DWORD(directory.notify),
            None,
            ctypes.byref(self.overlapped),
            None,
        )

    def finish(self, count: int, status: int) -> Completion:
        """Have the watch go on, and return the changes of this request."""
        return self._directory.take(self, count, status)


class Directory(Handle):
    """A directory on a completion port, which tells what changes in it.

    Made by ``CompletionPort.directory``. ``path`` is the directory, ``recursive`` whether
    what is below it is watched too, ``notify`` which changes are told.

    Thread safety: any thread may call any method.
    """

    kind = "directory"
    # When a watched directory is deleted, the error says that it is not found.
    winerror_of = MappingProxyType(
        {
            **WINERROR_OF,
            STATUS_NOTIFY_CLEANUP: ERROR_OPERATION_ABORTED,
            STATUS_DELETE_PENDING: ERROR_FILE_NOT_FOUND,
            STATUS_FILE_DELETED: ERROR_FILE_NOT_FOUND,
        }
    )

    def __init__(
        self,
        home: Home,
        number: int,
        *,
        path: Path,
        recursive: bool,
        notify: NotifyFilter,
        buffer_size: int,
        key: Any = None,
    ) -> None:
        self.path = path
        self.recursive = recursive
        self.notify = notify
        self._buffer_size = buffer_size
        #: Held while a completed request is handled, so that the requests stay in order.
        #: Reentrant: a signal handler of the user's may cancel.
        self._turn = threading.RLock()
        self._requests: tuple[ReadChanges, ReadChanges] | None = None
        self._watching = False
        self._stopping = False
        self._renames = Renames()
        self._receiver: Callable[[DirectoryCompletion], object] | None = None
        self._untold: deque[DirectoryCompletion] = deque()
        self._inbox = Inbox(home.ready, self._on_failure)
        # ReadDirectoryChangesW returns the same whether it has completed or is pending, so with
        # skip-on-success there would be no way to tell whether a packet comes.
        super().__init__(home, number, key=key, skip_on_success=False)

    @classmethod
    def open(
        cls,
        home: Home,
        path: str | os.PathLike[str],
        *,
        recursive: bool,
        notify: NotifyFilter | int,
        buffer_size: int,
        key: Any,
    ) -> Directory:
        """Return the handle of a directory; see ``CompletionPort.directory``.

        Raises NotADirectoryError, ValueError for bad arguments, and an `IocpError` if the
        system refuses.

        Source: https://learn.microsoft.com/windows/win32/fileio/obtaining-a-handle-to-a-directory
        """
        folder = Path(path)
        if not notify or int(notify) & ~_EVERYTHING:
            raise ValueError(f"notify must be one or more of NotifyFilter, not {notify:#x}")
        if not BUFFER_MIN <= buffer_size <= BUFFER_MAX:
            raise ValueError(
                f"buffer_size must be {BUFFER_MIN} to {BUFFER_MAX} bytes, not {buffer_size}"
            )
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"a directory can be watched, and {str(folder)!r} is none")
        kernel = home.kernel
        number = kernel.CreateFileW(
            str(folder),
            FILE_LIST_DIRECTORY,
            # A watch must not prevent anything, not even the deletion of the directory.
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            None,
            OPEN_EXISTING,
            FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OVERLAPPED,
            None,
        )
        if number is None or number == INVALID_HANDLE_VALUE:
            raise error_of_code("CreateFileW", kernel.last_error(), None, str(folder))
        try:
            return cls(
                home,
                number,
                path=folder,
                recursive=bool(recursive),
                notify=NotifyFilter(notify),
                buffer_size=buffer_size,
                key=key,
            )
        except BaseException:
            kernel.CloseHandle(number)
            raise

    def watch(self, receiver: Callable[[DirectoryCompletion], object] | None = None) -> None:
        """Have every change from now on told, until the watch is cancelled or ends.

        Each `DirectoryCompletion` comes from ``wait``, or, with a receiver, to that: it is
        called by the threads in ``run`` or ``wait``, one call at a time. What it raises is
        logged. The last completion, and no other, has an error.

        What has changed since an earlier watch on this handle ended is told too.

        Raises RuntimeError if it is being watched already; an `IocpError`
        (``ERROR_INVALID_PARAMETER`` 87: on a network the buffer may have 64 KB at most;
        ``ERROR_INVALID_FUNCTION`` 1: the file system tells no changes), `HandleClosedError`
        and `PortClosedError` after a close. Completes at the end with
        `OperationCancelledError`, `PathNotFoundError` or `AccessDeniedError` when the
        directory has been deleted.

        Source: https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesw
        """
        with self._turn:
            if self._watching:
                raise RuntimeError(f"{self!r} is being watched already: cancel() that first")
            if self._requests is None:
                first, second = (ReadChanges(self, bytearray(self._buffer_size)) for _ in range(2))
                self._requests = first, second
            for request in self._requests:
                request.refusal = None
                request.receiver = None if receiver is None else self._on_packet
            self._receiver = receiver
            self._stopping = False
            self._requests[0].post()
            self._watching = True

    def cancel(self) -> None:
        """Ask for the watch to end: a last completion comes, with `OperationCancelledError`.

        What the kernel has told before is told before. `watch` may be called again then.

        Source: https://learn.microsoft.com/windows/win32/fileio/cancelioex-func
        """
        with self._turn:
            self._stopping = True
            super().cancel()

    def take(self, request: ReadChanges, count: int, status: int) -> DirectoryCompletion:
        """Deal with a request that has ended: have the other posted, read this one's buffer."""
        with self._turn:
            error = request.refusal or self._error(request, status)
            if error is None:
                # First of all: until it is posted, changes go into the kernel's buffer.
                self._post_other(request)
                changes = self._changes(request, count, status)
            else:
                changes = self._renames.leave_off()
                self._watching = False
            completion = DirectoryCompletion(request, self.key, count, status, error, changes)
            if request.receiver is not None:
                self._untold.append(completion)
            return completion

    def _error(self, request: ReadChanges, status: int) -> OSError | None:
        """Return why the watch is over, if it is: closing the handle is reported as a success."""
        if failed(status) or status == STATUS_NOTIFY_CLEANUP:
            return error_of_status(request.function_name, status, request, self.winerror_of)
        return None

    def _post_other(self, request: ReadChanges) -> None:
        assert self._requests is not None
        other = self._requests[request is self._requests[0]]
        try:
            if not self._stopping:
                other.post()
                self._cancel_if_stopping()
                return
            other.refusal = _aborted(other)
        except IocpError as error:
            other.refusal = error
        except (HandleClosedError, PortClosedError):
            other.refusal = _aborted(other)
        # A completion comes anyway: a watch never ends without one.
        self.home.enqueue((other, 0, STATUS_CANCELLED))

    def _cancel_if_stopping(self) -> None:
        """Cancel the request just posted if a signal handler called `cancel` meanwhile."""
        if self._stopping:
            super().cancel()

    def _changes(self, request: ReadChanges, count: int, status: int) -> list[Change | Overflow]:
        """Return the changes in a request's buffer."""
        if status != STATUS_NOTIFY_ENUM_DIR and count:
            try:
                return self._renames.changes(parse_entries(request.buffers[0][:count]))
            except ValueError:
                logger.exception("what %r has told of %r cannot be read", request, self)
        return [*self._renames.leave_off(), Overflow()]

    def _on_packet(self, request: ReadChanges, count: int, status: int) -> None:
        """Take a completed request instead of ``wait``, and call the receiver."""
        self.take(request, count, status)
        self._inbox.deliver(self._tell)

    def _tell(self) -> None:
        completion = self._untold.popleft()
        if self._receiver is not None and (completion.changes or completion.error):
            self._receiver(completion)

    def _on_failure(self, error: BaseException) -> None:
        if isinstance(error, Exception):  # any other goes on to who runs the port
            logger.error("the receiver of %r failed", self, exc_info=error)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {str(self.path)!r}>"


def _aborted(request: ReadChanges) -> OSError:
    return error_of_code(request.function_name, ERROR_OPERATION_ABORTED, None, request)


_EVERYTHING = sum(NotifyFilter)
