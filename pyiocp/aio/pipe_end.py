"""PipeEnd: the pipe of a Python object, on the port; or what a thread reads and writes."""

from __future__ import annotations

import io
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import error_of_code
from ..handles.adopting import adopt_pipe
from ..handles.association import is_synchronous
from ..handles.pipes.pipe import Pipe
from ..winapi import FILE_TYPE_CHAR, FILE_TYPE_PIPE
from .asyncio_internals import PipeHandle
from .blocking_end import BlockingEnd

if sys.platform == "win32":
    import msvcrt

if TYPE_CHECKING:
    from ..engine.home import Home


class PipeEnd(Pipe):
    """A pipe on a port that is closed through the Python object that it is of, ``source``.

    Lifetime: the number is that object's, which gives it back once.
    """

    def __init__(self, source: Any, home: Home, number: int, **settings: Any) -> None:
        self.source = source
        super().__init__(home, number, **settings)

    def _close_number(self) -> None:
        self.source.close()


class HandleOfPipe(PipeHandle):
    """What a program sees of a pipe that the loop has opened: its number, while it is open."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @property
    def _handle(self) -> int | None:
        return None if self._pipe.closed else self._pipe.number

    def close(self) -> None:
        """Close the pipe."""
        self._pipe.close()


End = Pipe | BlockingEnd
"""What a transport reads and writes."""


def open_end(home: Home, source: Any) -> End:
    """Return the end of what a program has: a file object, or what has a handle as its fileno().

    It belongs to the end from then on. A pipe that was opened for overlapped operations is put on
    the port. A console, a file and other pipes get a thread: the port does not take them.

    Raises ValueError for a socket, a closed object and an overlapped handle of another kind, and an
    `IocpError` if the system refuses. Then it is still the caller's.
    """
    if isinstance(source, socket.socket):
        raise ValueError(f"{source!r} is no pipe: create_connection(sock=...) takes sockets")
    number = source.fileno()
    if isinstance(source, io.IOBase):
        number = msvcrt.get_osfhandle(number)
    kernel = home.kernel
    file_type = kernel.GetFileType(number)
    if not file_type:
        raise error_of_code("GetFileType", kernel.last_error(), None, source)
    if file_type == FILE_TYPE_CHAR or is_synchronous(kernel, number):
        return BlockingEnd(home, source, number)
    if file_type == FILE_TYPE_PIPE:
        return adopt_pipe(home, number, None, partial(PipeEnd, source))
    raise ValueError(
        f"{source!r} is no pipe, and was opened for overlapped operations: "
        "loop.port.adopt() takes it"
    )
