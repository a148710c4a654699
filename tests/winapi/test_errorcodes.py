"""Codes have the names that Windows gives them, and the names have one code each."""

from __future__ import annotations

import errno
import sys

import pytest

from pyiocp.winapi import *
from pyiocp.winapi import errorcodes


def codes(*prefixes: str) -> dict[str, int]:
    """Return the constants whose names begin like that."""
    return {name: value for name, value in vars(errorcodes).items() if name.startswith(prefixes)}


def test_every_status_is_an_unsigned_32_bit_number() -> None:
    """So that ``OVERLAPPED.Internal & 0xFFFFFFFF`` compares with it."""
    statuses = codes("STATUS_")
    assert len(statuses) > 100
    assert [] == [name for name, value in statuses.items() if not 0 <= value < 2**32]


def test_a_status_is_named_signed_or_unsigned() -> None:
    """Each constant has its name back, from -2**31 up, or that of its equal."""
    for name, value in codes("STATUS_").items():
        signed = value - 2**32 if value >= 2**31 else value
        assert status_name(signed) == status_name(value)
        assert codes("STATUS_")[status_name(value)] == value, name


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("STATUS_SUCCESS", 0),
        ("STATUS_PENDING", 0x103),
        ("STATUS_CANCELLED", 0xC0000120),
        ("STATUS_HANDLES_CLOSED", 0x8000000A),
        ("STATUS_CONNECTION_RESET", -0x3FFFFDF3),
        ("0xc0ffee00", 0xC0FFEE00),
        ("0xffffffff", -1),
    ],
)
def test_a_status_shows_its_name_or_its_number(name: str, status: int) -> None:
    """Known ones by name, others as hexadecimal digits."""
    assert name == status_name(status)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ERROR_SUCCESS", 0),
        ("WAIT_IO_COMPLETION", 192),
        ("WAIT_TIMEOUT", 258),
        ("ERROR_NETNAME_DELETED", 64),
        ("ERROR_IO_PENDING", 997),
        ("WSAECONNRESET", 10054),
        ("99999", 99999),
    ],
)
def test_an_error_shows_its_name_or_its_number(name: str, code: int) -> None:
    """Win32's and Winsock's codes in one table; where they share one, the Win32 name."""
    assert name == error_name(code)


def test_no_two_winsock_errors_share_a_number() -> None:
    """Only WSA_* names are second names, of Win32 codes."""
    names = codes("WSA")
    own = [value for name, value in names.items() if not name.startswith("WSA_")]
    assert len(own) == len(set(own))
    shared = {name for name, value in names.items() if error_name(value) != name}
    assert {name for name in names if name.startswith("WSA_")} == shared


@pytest.mark.skipif(sys.platform != "win32", reason="CPython knows these on Windows only")
def test_winsock_errors_are_pythons() -> None:
    """Each WSAE* name that the errno module has too is the same number."""
    pairs = {
        name: (value, getattr(errno, name))
        for name, value in codes("WSAE").items()
        if hasattr(errno, name)
    }
    assert len(pairs) > 30
    assert {} == {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
