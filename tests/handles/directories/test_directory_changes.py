"""The kernel's buffer becomes events: any chain of entries, and nothing that is none."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyiocp import Change, ChangeAction, Overflow
from pyiocp.handles.directories.change import Renames, parse_entries
from pyiocp.winapi import (
    FILE_ACTION_ADDED,
    FILE_ACTION_MODIFIED,
    FILE_ACTION_REMOVED,
    FILE_ACTION_RENAMED_NEW_NAME,
    FILE_ACTION_RENAMED_OLD_NAME,
)

OLD, NEW = FILE_ACTION_RENAMED_OLD_NAME, FILE_ACTION_RENAMED_NEW_NAME

Entry = tuple[int, str]


def utf16(name: str) -> bytes:
    return name.encode("utf-16-le", "surrogatepass")


def normal(name: str) -> str:
    """Return the name as UTF-16 can have it: with pairs of surrogates put together."""
    return utf16(name).decode("utf-16-le", "surrogatepass")


# Names of Windows: any characters, halves of pairs included.
names = st.text(st.characters(min_codepoint=1), max_size=40).map(normal)
actions = st.integers(1, 11)
entries = st.lists(st.tuples(actions, names), min_size=1, max_size=20)


def chain(entries: list[Entry], gaps: list[int]) -> bytes:
    """Lay entries out as the kernel does, with so many bytes between one and the next."""
    data = b""
    for index, ((action, name), gap) in enumerate(zip(entries, gaps, strict=True)):
        body = utf16(name)
        last = index == len(entries) - 1
        size = 12 + len(body) + gap
        data += struct.pack("<III", 0 if last else size, action, len(body)) + body
        data += b"" if last else b"\xa5" * gap
    return data


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[Entry], bytes]:
    wanted = draw(entries)
    gaps = draw(st.lists(st.integers(0, 9), min_size=len(wanted), max_size=len(wanted)))
    return wanted, chain(wanted, gaps)


@given(chains())
def test_any_chain_is_read_as_it_was_laid_out(given_chain: tuple[list[Entry], bytes]) -> None:
    """Names of any characters, with or without padding; from bytes, bytearray and memoryview."""
    wanted, data = given_chain
    assert parse_entries(data) == wanted
    assert parse_entries(memoryview(bytearray(data))) == wanted


@given(chains(), st.data())
def test_a_chain_that_is_cut_off_is_refused(
    given_chain: tuple[list[Entry], bytes], data: st.DataObject
) -> None:
    """At any byte: each entry names what follows it, or its own length, and both are missed."""
    _, whole = given_chain
    with pytest.raises(ValueError, match="entry"):
        parse_entries(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=200))
@example(b"")
def test_bytes_that_are_no_chain_are_refused_and_nothing_worse(data: bytes) -> None:
    """ValueError, or entries that are within the bytes; it always ends."""
    try:
        found = parse_entries(data)
    except ValueError:
        return
    assert sum(12 + len(utf16(name)) for _, name in found) <= len(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (struct.pack("<III", 0, 1, 3) + b"abc", "a name of 3 bytes"),
        (struct.pack("<III", 0, 1, 4) + b"ab", "a name of 4 bytes"),
        (struct.pack("<III", 12, 1, 4) + b"abcd" * 9, "begins 12 bytes after"),
        (struct.pack("<III", 4, 1, 0) + b"abcd" * 9, "begins 4 bytes after"),
        (struct.pack("<III", 0xFFFFFFFC, 1, 0), "at byte 4294967292 of 12 has no head"),
        (struct.pack("<III", 0, 1, 0xFFFFFFFE), "a name of 4294967294 bytes"),
    ],
)
def test_what_is_wrong_with_a_chain_is_said(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_entries(data)


# --- Renames --------------------------------------------------------------------------------------


def test_actions_have_names() -> None:
    events = Renames().changes(
        [(FILE_ACTION_ADDED, "a"), (FILE_ACTION_REMOVED, "b"), (FILE_ACTION_MODIFIED, "c")]
    )
    assert events == [
        Change(ChangeAction.ADDED, "a"),
        Change(ChangeAction.REMOVED, "b"),
        Change(ChangeAction.MODIFIED, "c"),
    ]


def test_both_names_of_a_rename_are_one_event() -> None:
    assert Renames().changes([(OLD, "a"), (NEW, "b")]) == [Change(ChangeAction.RENAMED, "b", "a")]


def test_names_of_a_rename_may_be_in_two_buffers() -> None:
    """The first buffer ends with the old name; nothing is told until the new one has come."""
    renames = Renames()
    assert renames.changes([(FILE_ACTION_ADDED, "x"), (OLD, "a")]) == [
        Change(ChangeAction.ADDED, "x")
    ]
    assert renames.changes([(NEW, "b"), (FILE_ACTION_MODIFIED, "b")]) == [
        Change(ChangeAction.RENAMED, "b", "a"),
        Change(ChangeAction.MODIFIED, "b"),
    ]


def test_half_a_rename_is_a_removal_or_an_addition() -> None:
    """The other name is outside of what is watched, or has been lost."""
    renames = Renames()
    assert renames.changes([(OLD, "a"), (FILE_ACTION_ADDED, "x"), (NEW, "c"), (OLD, "d")]) == [
        Change(ChangeAction.REMOVED, "a"),
        Change(ChangeAction.ADDED, "x"),
        Change(ChangeAction.ADDED, "c"),
    ]
    assert renames.leave_off() == [Change(ChangeAction.REMOVED, "d")]
    assert renames.leave_off() == []


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, OLD, NEW]), names), max_size=30), st.data())
def test_where_a_buffer_ends_makes_no_difference(
    all_of_them: list[Entry], data: st.DataObject
) -> None:
    """However entries are spread over buffers, the events are those of one large buffer."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(all_of_them)), max_size=5)))
    whole, parts = Renames(), Renames()
    expected = whole.changes(all_of_them) + whole.leave_off()
    found: list[Change | Overflow] = []
    for begin, end in itertools.pairwise([0, *cuts, len(all_of_them)]):
        found += parts.changes(all_of_them[begin:end])
    assert found + parts.leave_off() == expected


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3, OLD, NEW]), names), max_size=30))
def test_no_entry_is_lost_by_pairing(all_of_them: list[Entry]) -> None:
    """Every name that went in comes out, in order: a rename has two."""
    renames = Renames()
    out = []
    for event in renames.changes(all_of_them) + renames.leave_off():
        assert isinstance(event, Change)
        out += [event.name] if event.old_name is None else [event.old_name, event.name]
    assert out == [name for _, name in all_of_them]
