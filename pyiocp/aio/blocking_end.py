"""BlockingEnd: a console, a file or a pipe that a port does not take, read or written by a thread.

Windows has no other way: a handle that was not opened for overlapped operations makes whoever reads
it wait. So one thread does it, and tells the port. It is a daemon, because nothing ends a wait for
somebody to type: not even the end of the program should have to.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import queue
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from ..engine.packet import COMPLETED, IDLE, PENDING
from ..errors import HandleClosedError, IocpError, PortClosedError, closed_error, error_of_code
from ..winapi import DWORD, FILE_TYPE_CHAR, HANDLE
from ..winapi.errorcodes import (
    ERROR_BROKEN_PIPE,
    ERROR_INTERNAL_ERROR,
    STATUS_PIPE_BROKEN,
    STATUS_SUCCESS,
    STATUS_UNSUCCESSFUL,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home


class BlockingEnd:
    """What a transport has in the place of a pipe on a port: the same reads, writes and close.

    ``source`` is the program's object, whose handle is ``number``. The thread closes it, when it
    is at rest: a handle that is closed while somebody waits on it may keep both waiting.

    Thread safety: only the loop's thread calls it.
    """

    message = False

    def __init__(self, home: Home, source: Any, number: int) -> None:
        self.home = home
        self.source = source
        self.number = number
        self.closed = False
        self._wanted: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        #: A console speaks the program's language only through Python's own object; and that one
        #: is not to be buffered, because nobody can lock a buffer while a thread waits in it.
        self.raw: Any = None
        if isinstance(source, io.IOBase) and home.kernel.GetFileType(number) == FILE_TYPE_CHAR:
            self.raw = getattr(getattr(source, "buffer", source), "raw", source)

    def read_operation(self, buffer: memoryview) -> BlockingRead:
        """Return a read, to be posted again and again."""
        return BlockingRead(self, buffer)

    def write_operation(self, data: Any) -> BlockingWrite:
        """Return a write that has not been posted yet."""
        return BlockingWrite(self, data)

    def submit(self, call: _Call) -> None:
        """Have the thread do something."""
        if self.closed:
            raise closed_error(self, f"it takes no {call.kind}", HandleClosedError)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, name=f"pyiocp-{self.number:#x}", daemon=True
            )
            self._thread.start()
        self._wanted.put(call)

    def close(self) -> None:
        """Close it, as soon as the thread does not wait on it any more."""
        if self.closed:
            return
        self.closed = True
        if self._thread is None:
            self.source.close()
            return
        self._wanted.put(None)
        # A pipe lets go of the thread then. Some consoles do not.
        self.home.kernel.CancelIoEx(self.number, None)

    def _serve(self) -> None:
        while self._serve_one():
            pass
        self.source.close()

    def _serve_one(self) -> bool:
        """Make the next call; a function, so that its names keep nothing alive in between."""
        call = self._wanted.get()
        if call is None:
            return False
        call.make()
        with contextlib.suppress(PortClosedError):
            self.home.call_soon(call.tell)
        return True

    def __repr__(self) -> str:
        shown = "closed" if self.closed else f"{self.number:#x}"
        return f"<{type(self).__name__} {shown}>"


class _Call:
    """One read or write of a thread's; what a transport needs of an `Operation`."""

    kind: ClassVar[str]
    function_name: ClassVar[str]

    def __init__(self, end: BlockingEnd) -> None:
        self._end = end
        self.state = IDLE
        self.receiver: Callable[[Any, int, int], None] | None = None
        self.winerror_of: dict[int, int] = {}
        self._count = 0
        self._status = STATUS_SUCCESS

    def post(self) -> None:
        """Have it done; the receiver hears of its end."""
        self._end.submit(self)
        self.state = PENDING

    def start(self) -> bool:
        """Have it done; return False, because it cannot be over yet."""
        self.post()
        return False

    def make(self) -> None:
        """Do it: called by the thread."""
        self._count, self._status = 0, STATUS_SUCCESS
        try:
            self._count = self._make()
        except IocpError as error:
            self._fail(error.winerror)
        except OSError as error:
            self._fail(error.winerror or ERROR_INTERNAL_ERROR)
        except ValueError:  # closed by somebody else
            self._fail(ERROR_INTERNAL_ERROR)

    def _make(self) -> int:
        """Do it, and return how many bytes have been moved."""
        raise NotImplementedError

    def _fail(self, code: int) -> None:
        if code == ERROR_BROKEN_PIPE:
            self._status = STATUS_PIPE_BROKEN
        else:
            self._status = STATUS_UNSUCCESSFUL
            self.winerror_of = {STATUS_UNSUCCESSFUL: code}

    def tell(self) -> None:
        """Call the receiver: in the loop's thread."""
        self.state = COMPLETED
        if self.receiver is not None and not self._end.closed:
            self._take()
            self.receiver(self, self._count, self._status)

    def _take(self) -> None:
        """Take what the thread has brought."""

    def _ask(self, function: Callable[..., int], memory: Any, size: int) -> int:
        """Call ReadFile or WriteFile, which wait; return how many bytes they have moved."""
        count = DWORD()
        if function(HANDLE(self._end.number), memory, DWORD(size), ctypes.byref(count), None):
            return count.value
        code = self._end.home.kernel.last_error()
        raise error_of_code(self.function_name, code, None, self._end)


class BlockingRead(_Call):
    """A read: what comes is in the buffer when the receiver is called."""

    kind = "read"
    function_name = "ReadFile"

    def __init__(self, end: BlockingEnd, buffer: memoryview) -> None:
        super().__init__(end)
        self._buffer = buffer
        # Lifetime: the thread has memory of its own, and the object is what keeps it.
        self._memory = ctypes.create_string_buffer(len(buffer))
        self._data = b""

    def _make(self) -> int:
        self._data = b""
        if self._end.raw is not None:
            self._data = self._end.raw.read(len(self._buffer)) or b""
        else:
            read = self._end.home.kernel.ReadFile
            count = self._ask(read, self._memory, len(self._buffer))
            self._data = self._memory.raw[:count]
        if not self._data:
            self._status = STATUS_PIPE_BROKEN
        return len(self._data)

    def _take(self) -> None:
        self._buffer[: self._count] = self._data


class BlockingWrite(_Call):
    """A write of all its bytes."""

    kind = "write"
    function_name = "WriteFile"

    def __init__(self, end: BlockingEnd, data: Any) -> None:
        super().__init__(end)
        self._data = bytes(data)

    def _make(self) -> int:
        done = 0
        while done < len(self._data):
            rest = self._data[done:]
            if self._end.raw is not None:
                done += self._end.raw.write(rest) or 0
            else:
                done += self._ask(self._end.home.kernel.WriteFile, rest, len(rest))
        return done
