"""Asking many sockets at once whether they are ready: select and WSAPoll."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

from ..structure import Structure
from ..types import INT, LONG, SHORT, SOCKET, UINT, ULONG, ConstPointer, Pointer
from .library import ws2_32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# How many sockets an fd_set of the SDK's usual size has room for.
FD_SETSIZE = 64

# Events of WSAPoll. Those of the last line are reported, never asked for.
POLLRDNORM = 0x0100
POLLRDBAND = 0x0200
POLLIN = POLLRDNORM | POLLRDBAND
POLLPRI = 0x0400
POLLWRNORM = 0x0010
POLLOUT = POLLWRNORM
POLLWRBAND = 0x0020
POLLERR = 0x0001
POLLHUP = 0x0002
POLLNVAL = 0x0004


class TIMEVAL(Structure):
    """A duration in seconds and microseconds.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/ns-winsock-timeval
    """

    _fields_ = (("tv_sec", LONG), ("tv_usec", LONG))

    @classmethod
    def of(cls, seconds: float) -> TIMEVAL:
        """Return `seconds` as a TIMEVAL, rounded up to a whole microsecond.

        Raises ValueError for a negative duration, or one of more than 2,147,483,647 s.
        """
        microseconds = -int(-seconds * 1_000_000 // 1)
        whole, rest = divmod(microseconds, 1_000_000)
        if not 0 <= whole <= 0x7FFFFFFF:
            raise ValueError(f"{seconds} s is not from 0 to 2147483647")
        return cls(whole, rest)


PTIMEVAL = Pointer[TIMEVAL]


class FD_SET(Structure):
    """A set of sockets for select(): a number, and that many sockets.

    It works like a small Python set: ``FD_SET.of(s, t)``, ``s in fds``, ``fds.add(s)``,
    ``fds.discard(s)``, ``fds.clear()``, ``len(fds)``, ``list(fds)``. C has the macros
    FD_SET, FD_ISSET, FD_CLR and FD_ZERO for that.

    Windows reads the number of sockets from the set itself, so that a larger one is
    welcome everywhere: ``FD_SET.with_room(1000)``.

    Source: https://learn.microsoft.com/windows/win32/api/winsock/ns-winsock-fd_set
    """

    _fields_ = (("fd_count", UINT), ("fd_array", SOCKET * FD_SETSIZE))

    @classmethod
    def with_room(cls, capacity: int) -> FD_SET:
        """Return an empty set for `capacity` sockets; it has room for 64 at least."""
        more = capacity - FD_SETSIZE
        return _larger(more)() if more > 0 else cls()

    @classmethod
    def of(cls, *sockets: int) -> FD_SET:
        """Return a set of `sockets`, as large as it needs to be."""
        fds = cls.with_room(len(sockets))
        fds.replace(sockets)
        return fds

    @property
    def capacity(self) -> int:
        """How many sockets there is room for."""
        return (ctypes.sizeof(self) - FD_SET.fd_array.offset) // ctypes.sizeof(SOCKET)

    @property
    def _sockets(self) -> ctypes.Array[SOCKET]:
        """The whole array, whatever its length; it keeps the set alive."""
        return (SOCKET * self.capacity).from_buffer(self, FD_SET.fd_array.offset)

    def add(self, socket: int) -> None:
        """Put a socket in, once. Raises OverflowError when there is no more room."""
        if socket in self:
            return
        if self.fd_count == self.capacity:
            raise OverflowError(f"this FD_SET has room for {self.capacity}: use with_room()")
        self._sockets[self.fd_count] = socket
        self.fd_count += 1

    def replace(self, sockets: Iterable[int]) -> None:
        """Put these in, each once, and take out what was there: for a set used again and again.

        Raises OverflowError if there is no room for them; the set is then as it was.
        """
        unique: list[Any] = list(dict.fromkeys(sockets))
        if len(unique) > self.capacity:
            raise OverflowError(
                f"this FD_SET has room for {self.capacity}, not for {len(unique)}: use with_room()"
            )
        self._sockets[: len(unique)] = unique
        self.fd_count = len(unique)

    def discard(self, socket: int) -> None:
        """Take a socket out, if it is there."""
        self.replace([other for other in self if other != socket])

    def clear(self) -> None:
        """Take all out."""
        self.fd_count = 0

    def __contains__(self, socket: object) -> bool:
        return socket in list(self)

    def __iter__(self) -> Iterator[int]:
        return iter(self._sockets[: self.fd_count])

    def __len__(self) -> int:
        return int(self.fd_count)

    def __bool__(self) -> bool:
        return True  # a structure is there, however many sockets are in it

    def __repr__(self) -> str:
        return f"<FD_SET of {self.capacity}: {list(self)}>"


LPFD_SET = Pointer[FD_SET]


def _larger(more: int) -> type[FD_SET]:
    """Return an FD_SET with `more` places after those that C declares."""
    metaclass: Any = type(FD_SET)
    body = {"_fields_": (("_more", SOCKET * more),)}
    return cast("type[FD_SET]", metaclass(f"FD_SET_{FD_SETSIZE + more}", (FD_SET,), body))


class WSAPOLLFD(Structure):
    """One socket for WSAPoll: what to look for, and what was found.

    ``fd``: the socket; INVALID_SOCKET, or any negative number, to skip this entry.
    ``events``: POLLRDNORM, POLLRDBAND, POLLIN, POLLWRNORM, POLLOUT.
    ``revents``: receives those that hold, and POLLERR, POLLHUP, POLLNVAL.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/ns-winsock2-wsapollfd
    """

    _fields_ = (("fd", SOCKET), ("events", SHORT), ("revents", SHORT))
    _in_hexadecimal_ = ("events", "revents")


LPWSAPOLLFD = Pointer[WSAPOLLFD]


@ws2_32(since="Windows Vista")
def WSAPoll(fdArray: LPWSAPOLLFD, fds: ULONG, timeout: INT) -> INT:
    """Wait until one of several sockets is ready.

    fdArray, fds: an array of WSAPOLLFDs, and its length.
    timeout: milliseconds; 0 only looks, a negative number waits without end.

    Returns how many entries have something in revents, 0 when the time is up, or
    SOCKET_ERROR: ask last_error(). WSAEINVAL (10022): an events that cannot be asked for
    (POLLPRI, POLLERR …), or nothing to wait for. WSAEFAULT (10014), WSAENOBUFS (10055).

    Before Windows 10 2004 a connection attempt that fails is never reported. Ctrl-C does
    not end the wait.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsapoll
    """


@ws2_32(since="Windows 95")
def select(
    nfds: INT,
    readfds: LPFD_SET,
    writefds: LPFD_SET,
    exceptfds: LPFD_SET,
    timeout: ConstPointer[TIMEVAL],
) -> INT:
    """Wait until one of several sockets is ready.

    nfds: ignored.
    readfds: sockets to receive or accept from; None. When it returns, those that can.
    writefds: sockets to send on, or whose connection is being made; None.
    exceptfds: sockets whose connection may fail, or with out-of-band data; None.
    timeout: how long to wait; None for without end.

    Returns how many sockets are ready, 0 when the time is up, or SOCKET_ERROR: ask
    last_error(). WSAEINVAL (10022): all three sets are empty. WSAENOTSOCK (10038): one is
    no socket. WSAEFAULT (10014).

    Ctrl-C does not end the wait.

    Source: https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-select
    """
