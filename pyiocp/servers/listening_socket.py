"""Making a server's socket: bound to an address, or taken over from another process."""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import error_of_code
from ..handles.sockets.hand_over import open_shared
from ..handles.sockets.shared_listening import SharedListening
from ..handles.sockets.stream import Stream
from ..winapi import (
    DWORD,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_ACCEPTCONN,
    SOL_SOCKET,
    TCP_NODELAY,
)
from .resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.queue import CompletionQueue
    from ..handles.sockets.socket_handle import SocketHandle

_Socket = TypeVar("_Socket", bound="SocketHandle")


def open_bound(
    open_socket: Callable[[int], _Socket], address: Any, *, exclusive: bool, dual_stack: bool
) -> _Socket:
    """Return a socket that is bound to the address; see `CompletionPort.listen`.

    open_socket: returns a new socket of a family.

    Raises ValueError for a dual-stack socket at an IPv4 address.
    """
    if dual_stack and isinstance(address, tuple) and address[:1] == ("",):
        address = ("::", *address[1:])
    family, numeric = resolve(address, passive=True)
    if dual_stack and family != socket.AF_INET6:
        raise ValueError(f"a dual-stack socket needs '' or an IPv6 address, not {address!r}")
    bound = open_socket(family)
    try:
        if family == socket.AF_INET6:
            # Off by default here, on by default elsewhere: so it is always set.
            bound.set_option(IPPROTO_IPV6, IPV6_V6ONLY, not dual_stack)
        bound.bind(numeric, exclusive=exclusive)
    except BaseException:
        bound.close()
        raise
    return bound


def open_listening(
    home: Home,
    address: Any,
    *,
    backlog: int,
    exclusive: bool,
    dual_stack: bool,
    no_delay: bool,
    kind: type[Stream] = Stream,
) -> Stream:
    """Return a stream that listens at the address; see `CompletionPort.listen`.

    kind: the class of the stream.

    Raises what `open_bound` raises.
    """
    stream = open_bound(
        lambda family: kind.open(home, family, None),
        address,
        exclusive=exclusive,
        dual_stack=dual_stack,
    )
    try:
        if no_delay:
            # Accepted sockets inherit the listening socket's options.
            stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
        stream.listen(backlog)
    except BaseException:
        stream.close()
        raise
    return stream


def take_over(home: CompletionQueue, listening: socket.socket | bytes) -> Stream:
    """Return a stream of a socket that listens already; see `CompletionPort.listen`.

    listening: a Python socket, which is detached, or what ``Listener.share`` returned.

    Raises ValueError for a socket that does not listen, an `IocpError` for a used share.
    """
    if isinstance(listening, bytes):
        number, family = open_shared(home.kernel, listening)
    else:
        number, family = listening.fileno(), int(listening.family)
    try:
        _check_listening(home, number, listening)
        stream = SharedListening(home, number, family=family)
    except BaseException:
        if isinstance(listening, bytes):
            home.kernel.closesocket(number)
        raise
    if not isinstance(listening, bytes):
        listening.detach()
    return stream


def _check_listening(home: CompletionQueue, number: int, listening: socket.socket | bytes) -> None:
    listens = DWORD()
    size = ctypes.c_int(ctypes.sizeof(listens))
    if home.kernel.getsockopt(
        number, SOL_SOCKET, SO_ACCEPTCONN, ctypes.byref(listens), ctypes.byref(size)
    ):
        raise error_of_code("getsockopt", home.kernel.last_error(), None, listening)
    if not listens.value:
        raise ValueError(f"a socket that listens is needed, not {listening!r}")
