"""WSABUF, a piece of memory that Winsock sends from or receives into.

How the memory is kept: Python's buffer protocol has an *export*, a promise of the owner
not to move or shrink its memory while somebody looks at it. :meth:`WSABUF.over` takes
one and keeps it as long as the WSABUF lives, so that a ``bytearray`` under it answers
``BufferError`` to an ``append`` instead of leaving the kernel a dangling address.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, cast

from ..structure import Structure
from ..types import PCHAR, ULONG, Pointer

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LENGTH_MAX = 0xFFFFFFFF
"""What a ULONG holds, in bytes."""


class _Py_buffer(ctypes.Structure):
    """CPython's record of one export (part of its stable ABI since 3.11)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


class _ReadOnlyExport:
    """The export of memory that ``ctypes`` refuses to look at because it is read-only."""

    _get = ctypes.pythonapi.PyObject_GetBuffer
    _get.argtypes = (ctypes.py_object, ctypes.POINTER(_Py_buffer), ctypes.c_int)
    _get.restype = ctypes.c_int
    _release = ctypes.pythonapi.PyBuffer_Release
    _release.argtypes = (ctypes.POINTER(_Py_buffer),)
    _release.restype = None

    def __init__(self, buffer: Buffer) -> None:
        self.view: _Py_buffer | None = None
        view = _Py_buffer()
        self._get(buffer, view, 0)  # PyBUF_SIMPLE: contiguous, or BufferError
        self.view = view

    def __del__(self) -> None:
        if self.view is not None:
            self._release(self.view)


class WSABUF(Structure):
    """One buffer: ``len`` bytes at the address ``buf``.

    Make it with :meth:`over`. The constructor, ``WSABUF(len, buf)``, takes a bare
    address and keeps nothing alive, and neither does a copy of a WSABUF (assigning one
    to an element of an array copies its 16 bytes): :func:`wsabufs` makes an array that
    keeps all its buffers.

    Lifetime: Winsock reads the WSABUF itself during the call only, so that it may be on
    the stack in C; here it also holds the memory, so keep it until the operation has
    ended.

    Source: https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-wsabuf
    """

    _fields_ = (("len", ULONG), ("buf", PCHAR))
    _in_hexadecimal_ = ("buf",)

    _exported: Any

    @classmethod
    def over(cls, buffer: Buffer, *, read_only: bool = False) -> WSABUF:
        """Return a WSABUF over the whole of `buffer`, kept exported while it lives.

        buffer: anything contiguous with the buffer protocol: a bytearray, a slice of a
            memoryview, an array, a ctypes array, an mmap. Not copied. (Only
            ``ctypes.resize`` moves memory whatever looks at it: never call it on an
            array under a WSABUF, cpython#154524.)
        read_only: True for memory that will only be sent. It admits ``bytes`` and other
            read-only buffers, which are refused otherwise because the kernel would write
            into an object that Python believes constant.

        Raises TypeError for a read-only buffer without `read_only`, BufferError for one
        that is not contiguous, ValueError for more than 4,294,967,295 bytes.
        """
        wsabuf = cls()
        wsabuf._exported = _export(wsabuf, buffer, read_only)
        return wsabuf


LPWSABUF = Pointer[WSABUF]


def wsabufs(*buffers: Buffer, read_only: bool = False) -> ctypes.Array[WSABUF]:
    """Return an array of WSABUFs over `buffers`, for a scatter or gather operation.

    Pass it as ``lpBuffers`` and ``len(array)`` as ``dwBufferCount``. The array keeps
    every buffer exported while it lives; `read_only` and the errors are those of
    :meth:`WSABUF.over`.
    """
    array: Any = (WSABUF * len(buffers))()
    array.exported = [
        _export(wsabuf, buffer, read_only) for wsabuf, buffer in zip(array, buffers, strict=True)
    ]
    return cast("ctypes.Array[WSABUF]", array)


def _export(wsabuf: WSABUF, buffer: Buffer, read_only: bool) -> object:
    """Point `wsabuf` at `buffer` and return the object that keeps its memory in place."""
    view = memoryview(buffer)
    length = view.nbytes
    if length > _LENGTH_MAX:
        raise ValueError(f"a WSABUF holds at most {_LENGTH_MAX} bytes, and this is {length}")
    if not view.c_contiguous:
        raise BufferError(f"{type(buffer).__name__} is not contiguous in memory: copy it first")
    wsabuf.len = length
    if view.readonly:
        if not read_only:
            raise TypeError(
                f"{type(buffer).__name__} is read-only: to send from it, pass read_only=True;"
                " to receive, use a bytearray"
            )
        export = _ReadOnlyExport(buffer)
        wsabuf.buf = cast("_Py_buffer", export.view).buf
        return export
    # One char over the first byte exports the whole buffer, and needs no array type per
    # length. It has no place in an empty buffer, where an array of none has.
    anchor = (ctypes.c_char if length else ctypes.c_char * 0).from_buffer(buffer)
    wsabuf.buf = ctypes.addressof(anchor)
    return anchor
