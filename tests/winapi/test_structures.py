"""Structures have Windows' sizes on every system, and show what is in them."""

from __future__ import annotations

import ctypes
from ctypes import sizeof

import pytest

from pyiocp import winapi
from pyiocp.winapi import *
from pyiocp.winapi.structure import Structure, Union, describe

POINTER_IS_8_BYTES = sizeof(PVOID) == 8


@pytest.mark.skipif(not POINTER_IS_8_BYTES, reason="the sizes of 64-bit Windows")
@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (OVERLAPPED, 32),
        (OVERLAPPED_ENTRY, 32),
        (SECURITY_ATTRIBUTES, 24),
        (FILE_NOTIFY_INFORMATION, 16),
        (FILE_NOTIFY_EXTENDED_INFORMATION, 88),
        (FILE_SEGMENT_ELEMENT, 8),
        (SYSTEM_INFO, 48),
        (PSAPI_WORKING_SET_EX_BLOCK, 8),
        (PSAPI_WORKING_SET_EX_INFORMATION, 16),
        (JOBOBJECT_ASSOCIATE_COMPLETION_PORT, 16),
        (JOBOBJECT_BASIC_LIMIT_INFORMATION, 64),
        (JOBOBJECT_BASIC_ACCOUNTING_INFORMATION, 48),
        (JOBOBJECT_EXTENDED_LIMIT_INFORMATION, 144),
        (JOBOBJECT_BASIC_PROCESS_ID_LIST, 16),
        (IO_COUNTERS, 48),
        (FILETIME, 8),
        (REASON_CONTEXT, 32),
        (IO_STATUS_BLOCK, 16),
        (UNICODE_STRING, 16),
        (OBJECT_ATTRIBUTES, 48),
        (FILE_COMPLETION_INFORMATION, 16),
        (IO_COMPLETION_BASIC_INFORMATION, 4),
        (AFD_POLL_HANDLE_INFO, 16),
        (AFD_POLL_INFO, 32),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
def test_a_structure_has_windows_size(structure: type[Structure], size: int) -> None:
    """The figures are Microsoft's; the proof against the headers checks every field besides."""
    assert size == sizeof(structure)


def test_an_overlapped_begins_with_a_status_block() -> None:
    """What NtDeviceIoControlFile calls IO_STATUS_BLOCK is OVERLAPPED's first two fields."""
    overlapped = OVERLAPPED(Internal=STATUS_END_OF_FILE, InternalHigh=7, Offset=1)
    outcome = IO_STATUS_BLOCK.from_buffer(overlapped)
    assert "IO_STATUS_BLOCK(STATUS_END_OF_FILE, Information=7)" == repr(outcome)


@pytest.mark.parametrize(
    ("shown", "structure"),
    [
        (
            "OVERLAPPED(STATUS_PENDING, bytes=0, offset=4294967298)",
            OVERLAPPED(Internal=STATUS_PENDING, Offset=2, OffsetHigh=1),
        ),
        (
            "OVERLAPPED(STATUS_CANCELLED, bytes=3, offset=0, hEvent=0x44)",
            OVERLAPPED(Internal=STATUS_CANCELLED, InternalHigh=3, hEvent=0x44),
        ),
        (
            "OVERLAPPED_ENTRY(STATUS_PIPE_BROKEN, bytes=9, lpCompletionKey=0x2a, lpOverlapped=0x0)",
            OVERLAPPED_ENTRY(
                lpCompletionKey=42, Internal=STATUS_PIPE_BROKEN, dwNumberOfBytesTransferred=9
            ),
        ),
        (
            "SECURITY_ATTRIBUTES(nLength=24, lpSecurityDescriptor=0x0, bInheritHandle=1)",
            SECURITY_ATTRIBUTES(24, None, True),
        ),
        ("FILETIME(4294967299 * 100 ns)", FILETIME(3, 1)),
        ("FILE_SEGMENT_ELEMENT(0x1000)", FILE_SEGMENT_ELEMENT(0x1000)),
        (
            "JOBOBJECT_ASSOCIATE_COMPLETION_PORT(CompletionKey=0x2a, CompletionPort=0x8)",
            JOBOBJECT_ASSOCIATE_COMPLETION_PORT(42, 8),
        ),
        ("FILE_COMPLETION_INFORMATION(Port=0x0, Key=0x0)", FILE_COMPLETION_INFORMATION()),
        (
            "AFD_POLL_HANDLE_INFO(Handle=0x10, Events=AFD_POLL_RECEIVE | AFD_POLL_ABORT, "
            "Status=STATUS_SUCCESS)",
            AFD_POLL_HANDLE_INFO(16, AFD_POLL_RECEIVE | AFD_POLL_ABORT, 0),
        ),
        (
            "FILE_NOTIFY_INFORMATION(FILE_ACTION_REMOVED, FileNameLength=8, NextEntryOffset=24)",
            FILE_NOTIFY_INFORMATION(24, FILE_ACTION_REMOVED, 8),
        ),
        (
            "FILE_NOTIFY_EXTENDED_INFORMATION(FILE_ACTION_MODIFIED, FileSize=5, "
            "FileAttributes=0x20, FileId=0x7, FileNameLength=8, NextEntryOffset=0)",
            FILE_NOTIFY_EXTENDED_INFORMATION(
                Action=FILE_ACTION_MODIFIED,
                FileSize=5,
                FileAttributes=FILE_ATTRIBUTE_ARCHIVE,
                FileId=7,
                FileNameLength=8,
            ),
        ),
        ("REASON_CONTEXT(Version=0, Flags=0x0)", REASON_CONTEXT()),
        ("IO_COMPLETION_BASIC_INFORMATION(Depth=3)", IO_COMPLETION_BASIC_INFORMATION(3)),
        (
            "OBJECT_ATTRIBUTES('\\\\Device\\\\Afd', Attributes=0x40)",
            OBJECT_ATTRIBUTES.of(r"\Device\Afd"),
        ),
        ("UNICODE_STRING('né')", UNICODE_STRING.of("né")),
    ],
    ids=lambda given: type(given).__name__ if not isinstance(given, str) else "",
)
def test_a_structure_shows_what_is_in_it(shown: str, structure: Structure) -> None:
    """Statuses and actions by name, addresses in hexadecimal, the rest as numbers."""
    assert shown == repr(structure)


def test_a_reason_shows_the_member_that_its_flags_name() -> None:
    """The other member of the union is never read as a pointer."""
    context = REASON_CONTEXT(Flags=POWER_REQUEST_CONTEXT_SIMPLE_STRING)
    context.Reason.SimpleReasonString = "backup"
    assert "REASON_CONTEXT(Version=0, Flags=0x1, Reason.SimpleReasonString='backup')" == (
        repr(context)
    )
    context = REASON_CONTEXT(Flags=POWER_REQUEST_CONTEXT_DETAILED_STRING)
    context.Reason.Detailed.LocalizedReasonId = 7
    assert "LocalizedReasonId=7" in repr(context)
    assert "SimpleReasonString" not in repr(context)


def test_the_bits_of_a_page_are_where_windows_puts_them() -> None:
    """A locked, valid, read-write page of node 5, and one that is not resident."""
    page = PSAPI_WORKING_SET_EX_BLOCK(Flags=1 | PAGE_READWRITE << 4 | 5 << 16 | 1 << 22)
    assert (1, PAGE_READWRITE, 5, 1, 0) == (
        page.Valid,
        page.Win32Protection,
        page.Node,
        page.Locked,
        page.LargePage,
    )
    assert "Valid=1, ShareCount=0, Win32Protection=0x4, Shared=0, Node=5, Locked=1" in repr(page)
    page = PSAPI_WORKING_SET_EX_BLOCK(Flags=1 << 31)
    assert 1 == page.Invalid.Bad
    assert "Win32Protection" not in repr(page)
    assert "Bad=1" in repr(page)


def test_every_structure_has_a_repr_of_its_own_kind() -> None:
    """With all fields 0, every structure that a star import gives shows its name."""
    given = [getattr(winapi, name) for name in winapi.__all__]
    structures = {
        value
        for value in given
        if isinstance(value, type) and issubclass(value, (Structure, Union))
    }
    assert len(structures) > 40
    for structure in structures:
        assert structure.__name__ in repr(structure())


def test_values_are_described_as_what_they_are() -> None:
    """Bytes as bytes, lists as lists, pointers as addresses, NULL as 0x0."""
    number = ctypes.c_int32(5)
    assert "b'\\x01\\x02'" == describe((BYTE * 2)(1, 2))
    assert "[1, 2]" == describe((ULONG * 2)(1, 2))
    assert hex(ctypes.addressof(number)) == describe(ctypes.pointer(number))
    assert "0x0" == describe(LPOVERLAPPED())
    assert "0x0" == describe(None, HANDLE)
    assert "None" == describe(None)
    assert "'text'" == describe("text")
