"""explain(): a code in any form leads to words: what happened, and what to do."""

from __future__ import annotations

import os
import socket

import pytest

from pyiocp import (
    AddressUnavailableError,
    CompletionPort,
    HandleClosedError,
    IocpError,
    PeerResetError,
    PipeClosedError,
    ResourceLimitError,
    errors,
    explain,
)
from pyiocp.explanation_words import BY_CODE, EVENTS
from pyiocp.winapi import errorcodes as codes

windows_only = pytest.mark.skipif(os.name != "nt", reason="asks ntdll, or the system, for it")


@pytest.mark.parametrize(
    "code",
    [
        10054,
        "10054",
        "WSAECONNRESET",
        "wsaeconnreset ",
        0x80072746,
        0x80072746 - 2**32,
        "0x80072746",
        ConnectionResetError(10054, "by a peer")
        if os.name == "nt"
        else ConnectionResetError(104, ""),
        errors.error_of_code("WSARecv", 10054),
    ],
    ids=repr,
)
def test_a_code_in_any_form_is_the_same_event(code: object) -> None:
    """As number, text, name, HRESULT of either sign, and exception."""
    explanation = explain(code)
    assert (explanation.code, explanation.name) == (10054, "WSAECONNRESET")
    assert explanation.error is PeerResetError
    assert "The peer reset the connection" in explanation.meaning
    assert "Close the stream" in explanation.remedy
    assert "ERROR_NETNAME_DELETED (64)" in explanation.related
    assert "STATUS_CONNECTION_RESET (0xC000020D)" in explanation.related


@pytest.mark.parametrize("code", [0xC000020D, 0xC000020D - 2**32, "STATUS_CONNECTION_RESET"])
def test_a_status_is_explained_signed_unsigned_and_by_name(code: int | str) -> None:
    """C16: it leads to the words of the Winsock code that it is on a socket."""
    explanation = explain(code)
    assert (explanation.code, explanation.name) == (0xC000020D, "STATUS_CONNECTION_RESET")
    assert explanation.error is PeerResetError
    assert explanation.meaning == explain(10054).meaning
    assert explanation.related == ("WSAECONNRESET (10054)",)


def test_a_status_with_two_meanings_tells_both() -> None:
    """C16: STATUS_SHARING_VIOLATION is an address on a socket, and a file elsewhere."""
    explanation = explain(codes.STATUS_SHARING_VIOLATION)
    assert explanation.meaning == (
        f"On a socket: {explain('WSAEADDRINUSE').meaning}"
        f" On a file or pipe: {explain('ERROR_SHARING_VIOLATION').meaning}"
    )
    assert explanation.related == ("WSAEADDRINUSE (10048)", "ERROR_SHARING_VIOLATION (32)")


def test_an_exception_of_an_operation_is_explained_with_all_its_numbers(
    port: CompletionPort,
) -> None:
    """The real error of a receive that was cancelled, and of a pipe's status."""
    ours, peer = socket.socketpair()
    with peer:
        operation = port.stream(ours).receive(bytearray(1))
        operation.cancel()
        [completion] = port.wait(5)
        assert completion.error is not None
        explanation = explain(completion.error)
        assert explanation.code == 995
        assert explanation.related[-1].startswith("STATUS_")
        assert "cancelled" in explanation.meaning
    error = errors.error_of_status("ReadFile", codes.STATUS_PIPE_BROKEN)
    assert explain(error).error is PipeClosedError
    assert explain(error).code == 109


def test_it_shows_itself_in_words() -> None:
    """In a REPL, by its repr, in lines that fit."""
    explanation = explain(codes.WSAEADDRINUSE)
    assert repr(explanation) == str(explanation)
    first, *rest = repr(explanation).splitlines()
    assert first == "WSAEADDRINUSE (10048): AddressUnavailableError, a kind of OSError"
    assert explanation.error is AddressUnavailableError
    assert rest[0].startswith("  Another socket has this address")
    assert any(line.startswith("  What to do: ") for line in rest)
    assert any(line.startswith("  The same: ") for line in rest)
    assert max(map(len, rest)) <= 90


def test_what_is_no_failure_has_no_class() -> None:
    """Success and pending, as codes and as statuses."""
    for code in (0, 997, "STATUS_SUCCESS", "STATUS_PENDING", "ERROR_IO_PENDING"):
        assert explain(code).error is None, code
    assert "not an error" in explain("STATUS_PENDING").meaning


def test_what_is_closed_is_explained_too() -> None:
    """An exception without a code, but of pyiocp's own: by its class."""
    explanation = explain(HandleClosedError("<Stream closed> is closed: it takes no receive"))
    assert (explanation.code, explanation.name) == (None, "HandleClosedError")
    assert "it takes no receive" in str(explanation)


@windows_only
def test_a_code_without_words_has_the_systems() -> None:
    """What FormatMessage says of ERROR_ARENA_TRASHED (7); and a status by ntdll's translation."""
    explanation = explain(7)
    assert explanation.error is IocpError
    assert explanation.meaning
    assert explanation.meaning != "This code has no words here."
    assert explain("STATUS_END_OF_FILE").meaning == explain("ERROR_HANDLE_EOF").meaning


@pytest.mark.parametrize(
    ("code", "wanted"),
    [("WSAECONRESET", "WSAECONNRESET"), ("nonsense", "nonsense"), (1 << 40, "32 bits")],
)
def test_what_is_no_code_is_refused_in_words(code: int | str, wanted: str) -> None:
    """A slip of the pen is answered with the names that are like it."""
    with pytest.raises(ValueError, match=wanted):
        explain(code)


@pytest.mark.parametrize("code", [None, 1.5, True, ValueError("no code"), OSError("none either")])
def test_what_carries_no_code_is_refused(code: object) -> None:
    """With a TypeError."""
    with pytest.raises(TypeError):
        explain(code)  # type: ignore[arg-type]


def test_every_event_stands_once_and_every_class_has_words() -> None:
    """No code in two events; whatever an operation fails with by a class of its own has one."""
    assert len(BY_CODE) == sum(len(event.codes) for event in EVENTS)
    named = {name: code for name, code in vars(codes).items() if isinstance(code, int)}
    wordless = [
        name
        for name, code in named.items()
        if name.startswith(("ERROR_", "WSA"))
        and type(errors.error_of_code("", code)) is not IocpError
        and code not in BY_CODE
    ]
    assert wordless == []
    for status in errors.SOCKET_WINERROR_OF:
        assert explain(status).meaning != "This status has no words here."
    assert explain(codes.ERROR_NOT_ENOUGH_QUOTA).error is ResourceLimitError
