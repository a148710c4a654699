"""C76: AddressValidation: who begins a session has shown that it receives at its address."""

from __future__ import annotations

from typing import Any

import pytest
from datagram_journal import LOCAL, DatagramJournal, Echo, answer, peer_of, silent
from hypothesis import given
from hypothesis import strategies as st
from journal import Made, eventually, served

from pyiocp import AddressValidation, CompletionPort

ANN, BOB = ("192.0.2.1", 1000), ("192.0.2.2", 1000)


class Clock:
    """Stands until it is set."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_token_is_for_one_address(clock: Clock) -> None:
    """Not for another host, port or scope; the flow information does not matter."""
    validation = AddressValidation(monotonic=clock)
    token = validation.token(ANN)
    assert len(token) == AddressValidation.token_size == len(AddressValidation.no_token)
    assert validation.is_valid(ANN, token)
    assert not validation.is_valid(BOB, token)
    assert not validation.is_valid((ANN[0], 1001), token)
    six = ("fe80::1", 1000, 7, 3)
    token = validation.token(six)
    assert validation.is_valid(("fe80::1", 1000, 0, 3), token)
    assert not validation.is_valid(("fe80::1", 1000, 7, 4), token)


@pytest.mark.parametrize("lifetime", [1, 10, 3600.5])
@pytest.mark.parametrize("begun", [0.0, 0.4, 0.999])
def test_token_is_good_for_its_lifetime(clock: Clock, lifetime: float, begun: float) -> None:
    """Whenever in the life of the secret it was made: never less, and a 1/16 s more at most."""
    validation = AddressValidation(lifetime, monotonic=clock)
    for period in range(5):
        made = 5000 + (period * 3 + begun) * lifetime
        clock.now = made
        token = validation.token(ANN)
        for share in (0.0, 0.5, 0.999):
            clock.now = made + lifetime * share
            assert validation.is_valid(ANN, token), (period, share)
        clock.now = made + lifetime + 0.13
        assert not validation.is_valid(ANN, token)


def test_secrets_are_used_for_two_lifetimes(clock: Clock) -> None:
    """And then forgotten: not even the right time stamp helps a token of an old one."""
    validation = AddressValidation(10, monotonic=clock)
    seen = []
    for n in range(6):
        clock.now = 5000 + 10 * n
        validation.token(ANN)
        seen.append(validation._secrets)
    newer = [pair[0] for pair in seen]
    assert len(set(newer)) == 6
    assert [pair[1] for pair in seen[1:]] == newer[:-1]
    clock.now += 1000  # nobody came for long: neither of the old ones is kept
    validation.token(ANN)
    assert not {*newer} & {*validation._secrets}


def test_two_of_them_have_different_secrets(clock: Clock) -> None:
    one, other = (AddressValidation(monotonic=clock) for _ in range(2))
    assert not other.is_valid(ANN, one.token(ANN))


@given(position=st.integers(0, 19), bit=st.integers(0, 7), junk=st.binary(max_size=40))
def test_no_other_token_is_good(position: int, bit: int, junk: bytes) -> None:
    """One bit of it changed, and anything else; also one from the future."""
    validation = AddressValidation(3600)
    token = bytearray(validation.token(ANN))
    token[position] ^= 1 << bit
    assert not validation.is_valid(ANN, bytes(token))
    assert not validation.is_valid(ANN, junk)
    assert validation(ANN, memoryview(junk)) is not True


@pytest.mark.parametrize(
    ("hello", "retry"), [(b"", b""), (b"J", b"C"), (b"hello1", b"R")], ids=["bare", "J", "hello1"]
)
def test_answer_is_never_longer_than_what_it_answers(hello: bytes, retry: bytes) -> None:
    """What is too short, or begins in another way, gets none."""
    validation = AddressValidation(hello=hello, retry=retry)
    least = len(hello) + 20
    for size in range(60):
        question = (hello + bytes(60))[:size]
        reply = validation(ANN, memoryview(question))
        if size < least:
            assert reply is False
        else:
            assert isinstance(reply, bytes)
            assert (reply[: len(retry)], len(reply)) == (retry, len(retry) + 20)
            assert len(reply) <= size
            token = reply[len(retry) :]
            assert validation(ANN, memoryview(hello + token + b"whatever")) is True
    if hello:
        assert validation(ANN, memoryview(b"\xff" * 60)) is False


@pytest.mark.parametrize("lifetime", [0, 0.5, -1, 86_401, float("nan")])
def test_lifetime_out_of_range_is_refused(lifetime: float) -> None:
    with pytest.raises(ValueError, match="lifetime must be between 1 and 86400"):
        AddressValidation(lifetime)


def test_answer_that_would_be_longer_is_refused() -> None:
    with pytest.raises(ValueError, match="more than it was sent"):
        AddressValidation(hello=b"J", retry=b"CC")


def test_exchange_on_the_wire(port: CompletionPort) -> None:
    """As documented: byte for byte, with plain sockets; nobody is remembered before that."""
    sessions = Made(Echo)
    validation = AddressValidation(hello=b"J", retry=b"C")
    server = port.serve_datagrams(LOCAL, sessions, admit=validation)
    with served(port), peer_of(server) as peer, peer_of(server) as liar:
        peer.send(b"J too short")
        assert silent(peer)
        hello = b"J" + bytes(20) + b"Ann"
        retry = answer(peer, hello)
        assert (retry[:1], len(retry)) == (b"C", 21)
        token = retry[1:]
        # Somebody else's token, as one who has sent from a made-up address would need.
        assert answer(liar, b"J" + token + b"Liar")[:1] == b"C"
        assert (sessions, server.sessions) == ([], set())
        accepted = b"J" + token + b"Ann"
        assert answer(peer, accepted) == accepted
        assert answer(peer, b"and now short") == b"and now short"
        assert answer(peer, accepted) == accepted  # sent again, because an answer got lost
        assert sessions[0].received == [accepted, b"and now short", accepted]
    assert (server.accepted, server.not_admitted) == (1, 3)


def test_token_that_is_too_old_gets_a_new_one(port: CompletionPort, clock: Clock) -> None:
    validation = AddressValidation(10, monotonic=clock)
    server = port.serve_datagrams(LOCAL, Echo, admit=validation)
    with served(port), peer_of(server) as peer:
        old = answer(peer, bytes(20))
        clock.now += 11
        new = answer(peer, old + b"hello")
        assert (len(new), new != old) == (20, True)
        assert answer(peer, new + b"hello") == new + b"hello"
    assert server.accepted == 1


class Client(DatagramJournal):
    """The other end, as the page has it: says hello again, with what it is answered."""

    token = AddressValidation.no_token

    def on_connect(self) -> None:
        super().on_connect()
        self.send(b"J" + self.token + b"Ann")

    def on_receive(self, data: memoryview) -> None:
        if data[:1] == b"C":
            self.send(b"J" + bytes(data[1:]) + b"Ann")
        else:
            super().on_receive(data)


def test_client_as_a_session(port: CompletionPort) -> None:
    sessions = Made(Echo)
    server = port.serve_datagrams(LOCAL, sessions, admit=AddressValidation(hello=b"J", retry=b"C"))
    client: Any = port.connect_datagram(server.address, Client)
    with served(port):
        [echo] = client.wait_received(1)
        assert (echo[:1], echo[21:]) == (b"J", b"Ann")
        assert eventually(lambda: server.accepted == 1)
