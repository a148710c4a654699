"""Content: it follows from the seed, and no difference goes unseen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyiocp.cli.content import Echo, Messages


def take(seed: int, connection: int, count: int, size_max: int = 65536) -> list[bytes]:
    messages = Messages(seed, connection, size_max)
    return [messages.next() for _ in range(count)]


def test_seed_repeats_the_content() -> None:
    assert take(1, 2, 50) == take(1, 2, 50)
    assert take(1, 2, 50) != take(1, 3, 50)
    assert take(1, 2, 50) != take(2, 2, 50)


def test_sizes_have_both_ends_and_every_order_of_magnitude() -> None:
    """The first two are the smallest and the largest."""
    sizes = [len(message) for message in take(1, 1, 1000)]
    assert sizes[:2] == [1, 65536]
    assert (min(sizes), max(sizes)) == (1, 65536)
    for low in (1, 10, 100, 1000, 10_000):
        assert sum(low <= size < low * 10 for size in sizes) > 100
    assert {len(message) for message in take(1, 1, 20, size_max=1)} == {1}


MESSAGES = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5)


@given(MESSAGES, st.lists(st.integers(0, 100)))
def test_right_bytes_in_any_pieces_are_right(messages: list[bytes], cuts: list[int]) -> None:
    echo = Echo()
    for message in messages:
        echo.send(message)
    whole = b"".join(messages)
    ends = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    completed = [
        echo.take(whole[a:b]) for a, b in zip(ends, [*ends[1:], len(whole)], strict=True) if b > a
    ]
    assert sum(completed) == len(messages)
    assert echo.checked_bytes == len(whole)
    assert echo.fault() is None
    assert echo.is_wrong is False


@given(MESSAGES, st.data())
def test_any_other_bytes_are_a_fault(messages: list[bytes], data: st.DataObject) -> None:
    """Whatever comes instead, in two pieces: unless it is the same bytes, it shows."""
    whole = b"".join(messages)
    other = data.draw(
        st.one_of(
            st.binary(max_size=len(whole) + 2),
            st.permutations(list(whole)).map(bytes),
            st.integers(0, len(whole) - 1).map(lambda at: whole[:at] + whole[at + 1 :]),
            st.integers(0, len(whole) - 1).map(
                lambda at: whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
            ),
        )
    )
    cut = data.draw(st.integers(0, len(other)))
    echo = Echo()
    for message in messages:
        echo.send(message)
    echo.take(other[:cut])
    echo.take(other[cut:])
    assert (echo.fault() is None) == (other == whole)
    assert echo.all_came() == (len(other) >= len(whole))


@pytest.mark.parametrize(
    ("came", "fault"),
    [
        (b"onetwo", None),
        (b"on", "lost: the last 4 bytes of 2 messages did not come back, from byte 2 on"),
        (b"", "lost: the last 6 bytes of 2 messages did not come back, from byte 0 on"),
        (b"two", "lost: 3 bytes did not come back, the first at byte 0"),
        (b"otwo", "lost: 2 bytes did not come back, the first at byte 1"),
        (b"twoone", "reordered: the right bytes came in another order, from byte 0 on"),
        (b"onetow", "reordered: the right bytes came in another order, from byte 4 on"),
        (b"onetwo!", "extra: 1 bytes too many came, the first at byte 6"),
        (
            b"onXtwo",
            "changed: 1 of 6 bytes came back different, the first at byte 2: 0x58 instead of 0x65",
        ),
    ],
)
def test_fault_says_what_and_where(came: bytes, fault: str | None) -> None:
    echo = Echo()
    echo.send(b"one")
    echo.send(b"two")
    echo.take(came)
    assert echo.fault() == fault
