"""Win32's scalar types, as ctypes types of the width that Windows gives them.

None of this comes from ``ctypes.wintypes``: its ``DWORD`` is ``c_ulong``, which is
8 bytes wide off Windows, so that no layout could be checked there. Here a width is a
width, on every operating system.

Two vocabularies meet in an annotation. ``lpBuffers: LPWSABUF`` is at once the type
that ctypes converts the argument to and, by its spelling, the C type that the proof
against the Windows SDK headers (``tools/proof.py``) compares it with. A pointer
without a name of its own in the SDK is written ``Pointer[T]`` or ``ConstPointer[T]``.
"""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_void_p, c_wchar_p
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Pointer = ctypes._Pointer
    ConstPointer = ctypes._Pointer
else:

    class Pointer:
        """``Pointer[T]`` is ``ctypes.POINTER(T)``: what C calls ``T *``."""

        def __class_getitem__(cls, target: type[Any]) -> type[Any]:
            return ctypes.POINTER(target)

    class ConstPointer(Pointer):
        """``ConstPointer[T]`` is ``ctypes.POINTER(T)`` too: what C calls ``const T *``."""


# Integers. ``c_long`` is left out on purpose: its width differs between systems.
BYTE = ctypes.c_uint8
UCHAR = ctypes.c_uint8
CHAR = ctypes.c_char
BOOLEAN = ctypes.c_uint8
SHORT = ctypes.c_int16
USHORT = ctypes.c_uint16
WORD = ctypes.c_uint16
INT = ctypes.c_int32
BOOL = ctypes.c_int32
UINT = ctypes.c_uint32
UINT8 = ctypes.c_uint8
UINT16 = ctypes.c_uint16
UINT32 = ctypes.c_uint32
LONG = ctypes.c_int32
ULONG = ctypes.c_uint32
DWORD = ctypes.c_uint32
LONGLONG = ctypes.c_int64
ULONGLONG = ctypes.c_uint64
ULONG64 = ctypes.c_uint64
LARGE_INTEGER = ctypes.c_int64
"""A union in C; every member that matters is the signed 64-bit ``QuadPart``."""

# Integers as wide as a pointer.
ULONG_PTR = ctypes.c_size_t
DWORD_PTR = ctypes.c_size_t
UINT_PTR = ctypes.c_size_t
SIZE_T = ctypes.c_size_t
size_t = ctypes.c_size_t
SOCKET = ctypes.c_size_t

# What ntdll and Winsock return or name.
NTSTATUS = ctypes.c_int32
ACCESS_MASK = ctypes.c_uint32
GROUP = ctypes.c_uint32

# Characters. Windows' ``wchar_t`` is 2 bytes; where ctypes' is not, the bare number
# keeps the layout of the structures that hold one.
if TYPE_CHECKING or ctypes.sizeof(ctypes.c_wchar) == 2:
    WCHAR = ctypes.c_wchar
else:
    WCHAR = ctypes.c_uint16

# Pointers without a type behind them. A NULL one reads as ``None``.
HANDLE = c_void_p
HMODULE = c_void_p
HWND = c_void_p
PVOID = c_void_p
LPVOID = c_void_p
LPCVOID = c_void_p

# Winsock's ``char *``, which means any memory: bytes, byref(…), an address.
PCHAR = c_void_p
PCCH = c_void_p

# Strings that Windows only reads.
LPCSTR = c_char_p
LPCWSTR = c_wchar_p
LPWSTR = c_wchar_p
PWSTR = c_wchar_p
PCWSTR = c_wchar_p

# Pointers to the above.
PBYTE = Pointer[BYTE]
LPBOOL = Pointer[BOOL]
PBOOLEAN = Pointer[BOOLEAN]
PULONG = Pointer[ULONG]
LPDWORD = Pointer[DWORD]
PDWORD = Pointer[DWORD]
LPINT = Pointer[INT]
PULONG_PTR = Pointer[ULONG_PTR]
PSIZE_T = Pointer[SIZE_T]
LPHANDLE = Pointer[HANDLE]
PHANDLE = Pointer[HANDLE]
PLARGE_INTEGER = Pointer[LARGE_INTEGER]
