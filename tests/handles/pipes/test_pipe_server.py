"""Servers of named pipes: instances, accepting, who is let in."""

from __future__ import annotations

import ctypes
import gc
import os
import subprocess
import sys
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal
from pipe_ends import completions_of, connected, unused_name
from wine import WINE

from pyiocp import (
    AccessDeniedError,
    CompletionPort,
    HandleClosedError,
    IocpError,
    NotConnectedError,
    OperationCancelledError,
    PathNotFoundError,
    Pipe,
    PipeBusyError,
    PipeClosedError,
    ResourceLimitError,
)
from pyiocp.handles.pipes.pipe import pipe_path
from pyiocp.winapi import (
    DACL_SECURITY_INFORMATION,
    DWORD,
    ERROR_NOT_ENOUGH_MEMORY,
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    INVALID_HANDLE_VALUE,
    LPWSTR,
    PIPE_REJECT_REMOTE_CLIENTS,
    SDDL_REVISION_1,
    SECURITY_IDENTIFICATION,
    SECURITY_SQOS_PRESENT,
    STATUS_PIPE_CLOSING,
    STATUS_PIPE_CONNECTED,
    ConvertSecurityDescriptorToStringSecurityDescriptorW,
    GetKernelObjectSecurity,
    LocalFree,
)


def instances_of(port: CompletionPort, name: str) -> list[Pipe]:
    """Return the server's ends of a pipe that are open on the port."""
    return [h for h in port.handles if isinstance(h, Pipe) and h.server and h.name.endswith(name)]


# --- Accepting ------------------------------------------------------------------------------------


def test_accept_completes_when_a_client_comes(port: CompletionPort) -> None:
    """Pending until then; the pipe accepted has the server's key, and talks to the client."""
    name = unused_name()
    server = port.pipe_server(name, key="server")
    accept = server.accept()
    assert port.wait(0.05) == []
    assert accept.accepted is None
    client = port.pipe(name)
    [completion] = completions_of(port, accept)
    assert (completion.key, completion.error, completion.bytes) == ("server", None, 0)
    pipe = accept.accepted
    assert pipe is not None
    assert (pipe.server, client.server, pipe.name) == (True, False, rf"\\.\pipe\{name}")
    got, _ = completions_of(port, client.read(bytearray(9)), pipe.write(b"welcome"))
    assert bytes(got.data) == b"welcome"


def test_client_that_was_faster_is_accepted(port: CompletionPort) -> None:
    """C21: ERROR_PIPE_CONNECTED is a success, for which no packet comes: one completion."""
    name = unused_name()
    server = port.pipe_server(name)
    client = port.pipe(name)
    accept = server.accept()
    [completion] = completions_of(port, accept)
    assert (completion.error, completion.status) == (None, STATUS_PIPE_CONNECTED)
    assert accept.accepted is not None
    got, _ = completions_of(port, accept.accepted.read(bytearray(9)), client.write(b"first"))
    assert bytes(got.data) == b"first"
    assert port.wait(0.05) == []


def test_client_that_has_come_and_gone_is_an_ordinary_end(port: CompletionPort) -> None:
    """C21: ERROR_NO_DATA: accepted, with what it wrote, and the end; the server goes on."""
    name = unused_name()
    server = port.pipe_server(name)
    client = port.pipe(name)
    completions_of(port, client.write(b"in a hurry"))
    client.close()
    accept = server.accept()
    [completion] = completions_of(port, accept)
    assert (completion.error, completion.status) == (None, STATUS_PIPE_CLOSING)
    pipe = accept.accepted
    assert pipe is not None
    seen = [completions_of(port, pipe.read(bytearray(20)))[0] for _ in range(2)]
    assert [(bytes(c.data), c.ended, c.error) for c in seen] == [
        (b"in a hurry", False, None),
        (b"", True, None),
    ]
    second = server.accept()
    port.pipe(name)
    [completion] = completions_of(port, second)
    assert completion.error is None
    assert second.accepted not in (None, pipe)


def test_many_accepts_take_as_many_clients(port: CompletionPort) -> None:
    """Eight are posted, eight clients come: each has an instance of its own."""
    name = unused_name()
    server = port.pipe_server(name)
    accepts = [server.accept() for _ in range(8)]
    clients = [port.pipe(name, key=n) for n in range(8)]
    completions_of(port, *accepts)
    pipes = {accept.accepted for accept in accepts}
    assert len(pipes) == 8
    writes = [client.write(str(client.key).encode()) for client in clients]
    reads = [pipe.read(bytearray(9)) for pipe in pipes if pipe]
    said = completions_of(port, *reads, *writes)[:8]
    assert {bytes(c.data) for c in said} == {str(n).encode() for n in range(8)}


def test_an_instance_is_free_between_two_accepts(port: CompletionPort) -> None:
    """Clients connect before the first accept, and right after one has ended: never busy."""
    name = unused_name()
    server = port.pipe_server(name)
    for _ in range(5):
        port.pipe(name)
        accept = server.accept()
        [completion] = completions_of(port, accept)
        assert completion.error is None
    assert len(instances_of(port, name)) == 6


def test_cancelled_accept_leaves_its_instance_to_the_next(port: CompletionPort) -> None:
    """The name stays taken, no instance is wasted, and the next accept has a client."""
    name = unused_name()
    server = port.pipe_server(name)
    for _ in range(3):
        accept = server.accept()
        assert accept.cancel() is True
        [completion] = completions_of(port, accept)
        assert isinstance(completion.error, OperationCancelledError)
        assert accept.accepted is None
    assert len(instances_of(port, name)) == 1
    client = port.pipe(name)
    accept = server.accept()
    [completion] = completions_of(port, accept)
    assert completion.error is None
    client.close()


def test_cancel_that_comes_too_late_delivers_the_client(port: CompletionPort) -> None:
    """C06: the client is there, nobody has dequeued it, then comes cancel()."""
    name = unused_name()
    accept = port.pipe_server(name).accept()
    port.pipe(name)
    assert accept.cancel() is False
    [completion] = completions_of(port, accept)
    assert completion.error is None
    assert accept.accepted is not None


def test_closing_the_server_ends_accepts_and_frees_the_name(port: CompletionPort) -> None:
    """Pipes that were accepted live on."""
    name = unused_name()
    server = port.pipe_server(name)
    accept = server.accept()
    client = port.pipe(name)
    completions_of(port, accept)
    pending = [server.accept() for _ in range(2)]
    server.close()
    server.close()
    completions = completions_of(port, *pending)
    assert {type(c.error) for c in completions} == {OperationCancelledError}
    assert instances_of(port, name) == [accept.accepted]
    with pytest.raises(HandleClosedError, match="accepts nobody"):
        server.accept()
    assert accept.accepted is not None
    got, _ = completions_of(port, client.read(bytearray(9)), accept.accepted.write(b"still"))
    assert bytes(got.data) == b"still"
    accept.accepted.close()
    with pytest.raises(PathNotFoundError):
        port.pipe(name)
    port.pipe_server(name).close()


def test_accept_whose_client_comes_while_the_server_closes(port: CompletionPort) -> None:
    """The client was accepted before: the pipe is handed out, and nothing new is made."""
    name = unused_name()
    server = port.pipe_server(name)
    accept = server.accept()
    port.pipe(name)
    server.close()
    [completion] = completions_of(port, accept)
    assert (completion.error is None) == (accept.accepted is not None)
    assert [p for p in instances_of(port, name) if p is not accept.accepted] == []


def test_port_closed_with_a_client_in_the_queue_leaves_nothing() -> None:
    """The accept has ended and nobody has dequeued it: closing makes no next instance."""
    with CompletionPort() as port:
        name = unused_name()
        accept = port.pipe_server(name).accept()
        port.pipe(name)
        [completion] = port.close()
        assert completion.operation is accept
        assert port.handles == set()


# --- Instances ------------------------------------------------------------------------------------


def test_disconnected_instance_takes_the_next_client(port: CompletionPort) -> None:
    """The first client's read ends in an error, what it has not read is lost; the second talks."""
    name = unused_name()
    server = port.pipe_server(name, instances=1)
    accept = server.accept()
    first = port.pipe(name)
    completions_of(port, accept)
    pipe = accept.accepted
    assert pipe is not None
    read = first.read(bytearray(9))
    pipe.disconnect()
    [completion] = completions_of(port, read)
    assert isinstance(completion.error, PipeClosedError)
    with pytest.raises(PipeClosedError):
        first.read(bytearray(9))
    with pytest.raises(PipeClosedError):
        first.write(b"hello?")
    again = pipe.accept()
    second = port.pipe(name)
    [completion] = completions_of(port, again)
    assert (completion.error, again.accepted) == (None, pipe)
    got, _ = completions_of(port, pipe.read(bytearray(9)), second.write(b"me now"))
    assert bytes(got.data) == b"me now"


def test_what_is_unread_survives_a_close_and_no_disconnect(port: CompletionPort) -> None:
    for leave, heard in ((Pipe.close, b"goodbye"), (Pipe.disconnect, None)):
        ours, theirs = connected(port)
        completions_of(port, ours.write(b"goodbye"))
        leave(ours)
        if heard is None:
            with pytest.raises(PipeClosedError):
                theirs.read(bytearray(9))
        else:
            [completion] = completions_of(port, theirs.read(bytearray(9)))
            assert bytes(completion.data) == heard


def test_no_more_instances_than_allowed(port: CompletionPort) -> None:
    """With two there, the third accept is refused; after one has been closed it is not."""
    name = unused_name()
    server = port.pipe_server(name, instances=2)
    pipes = []
    for _ in range(2):
        accept = server.accept()
        port.pipe(name)
        completions_of(port, accept)
        pipes.append(accept.accepted)
    with pytest.raises(PipeBusyError, match="CreateNamedPipeW failed"):
        server.accept()
    with pytest.raises(PipeBusyError, match="CreateFileW failed"):
        port.pipe(name)
    assert pipes[0] is not None
    pipes[0].close()
    accept = server.accept()
    port.pipe(name)
    [completion] = completions_of(port, accept)
    assert completion.error is None


def test_reading_before_a_client_has_come_is_refused(port: CompletionPort) -> None:
    name = unused_name()
    server = port.pipe_server(name)
    [instance] = instances_of(port, name)
    with pytest.raises(NotConnectedError):
        instance.read(bytearray(9))
    server.close()


def test_clients_neither_accept_nor_disconnect(port: CompletionPort) -> None:
    _, client = connected(port)
    with pytest.raises(ValueError, match="only a server's accepts"):
        client.accept()
    with pytest.raises(ValueError, match=r"left with close\(\)"):
        client.disconnect()


def test_one_way_pipes(port: CompletionPort) -> None:
    """The server only reads, or only writes; the client the other way round."""
    for mode, client_mode in (("r", "w"), ("w", "r")):
        name = unused_name()
        server = port.pipe_server(name, mode=mode, message=True)
        accept = server.accept()
        client = port.pipe(name, mode=client_mode, message=mode == "w")
        completions_of(port, accept)
        reader, writer = (accept.accepted, client) if mode == "r" else (client, accept.accepted)
        assert reader is not None
        assert writer is not None
        got, _ = completions_of(port, reader.read(bytearray(9)), writer.write(b"one way"))
        assert bytes(got.data) == b"one way"
        with pytest.raises(AccessDeniedError):
            reader.write(b"back")


# --- Who is let in --------------------------------------------------------------------------------


def dacl_of(pipe: Pipe) -> str:
    """Return who may open a pipe, as the system has it, in SDDL."""
    size = DWORD()
    GetKernelObjectSecurity(pipe.number, DACL_SECURITY_INFORMATION, None, 0, ctypes.byref(size))
    memory = ctypes.create_string_buffer(size.value)
    assert GetKernelObjectSecurity(
        pipe.number, DACL_SECURITY_INFORMATION, memory, size, ctypes.byref(size)
    )
    text = LPWSTR()
    assert ConvertSecurityDescriptorToStringSecurityDescriptorW(
        memory, SDDL_REVISION_1, DACL_SECURITY_INFORMATION, ctypes.byref(text), None
    )
    sddl = str(text.value)
    LocalFree(ctypes.cast(text, ctypes.c_void_p))
    return sddl.replace(";FA;", ";GA;")  # which Windows makes of it, for what is like a file


def test_only_the_same_user_is_let_in_by_default(port: CompletionPort) -> None:
    """One entry, for one user, and nothing inherited: read from the pipe itself."""
    name = unused_name()
    server = port.pipe_server(name)
    [instance] = instances_of(port, name)
    assert dacl_of(instance) == server.sddl
    assert server.sddl.startswith("D:P(A;;GA;;;S-1-5-")
    assert server.sddl.count("(") == 1


def test_other_descriptors_are_taken(port: CompletionPort) -> None:
    name = unused_name()
    server = port.pipe_server(name, security="D:P(A;;GA;;;SY)")
    [instance] = instances_of(port, name)
    assert dacl_of(instance) == server.sddl == "D:P(A;;GA;;;SY)"
    with pytest.raises(ValueError, match="no security descriptor in SDDL"):
        port.pipe_server(unused_name(), security="everybody")


def test_remote_clients_are_refused_and_names_not_shared_by_default() -> None:
    """What the system is asked for, with and without the caller's leave.

    The client's side lets the server know who it is, and not act in its name.
    """
    kernel = FaultyKernel()
    made: list[tuple[int, int]] = []
    opened: list[int] = []

    def create(real: Any, *arguments: Any) -> Any:
        made.append((arguments[1] & FILE_FLAG_FIRST_PIPE_INSTANCE, arguments[2]))
        return real(*arguments)

    def open_(real: Any, *arguments: Any) -> Any:
        opened.append(arguments[5])
        return real(*arguments)

    kernel.wrap("CreateNamedPipeW", create)
    kernel.wrap("CreateFileW", open_)
    name = unused_name()
    with CompletionPort(kernel=kernel) as port:
        port.pipe_server(name)
        port.pipe(name)
        port.pipe_server(unused_name(), remote=True, exclusive=False)
    assert [mode & PIPE_REJECT_REMOTE_CLIENTS for _, mode in made] == [8, 0]
    assert [first for first, _ in made] == [FILE_FLAG_FIRST_PIPE_INSTANCE, 0]
    assert opened[0] & SECURITY_SQOS_PRESENT
    assert opened[0] & 0x000F0000 == SECURITY_IDENTIFICATION


def test_a_name_has_one_server_unless_it_is_shared(port: CompletionPort) -> None:
    """The second is let in without exclusive, and refused with it, which is the default."""
    name = unused_name()
    port.pipe_server(name)
    port.pipe_server(name, exclusive=False)
    assert len(instances_of(port, name)) == 2
    if WINE:
        port.pipe_server(name).close()
        pytest.skip("this Wine takes no notice of FILE_FLAG_FIRST_PIPE_INSTANCE")
    with pytest.raises(AccessDeniedError, match="CreateNamedPipeW failed"):
        port.pipe_server(name)
    assert len(instances_of(port, name)) == 2


def test_both_ends_know_the_others_process(port: CompletionPort) -> None:
    """The client is a process of its own, which tells its number through the pipe."""
    name = unused_name()
    accept = port.pipe_server(name).accept()
    code = rf"import os; f = open(r'\\.\pipe\{name}', 'r+b', 0); f.write(b'%d' % os.getpid()); "
    code += "f.read(1)"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        completions_of(port, accept)
        pipe = accept.accepted
        assert pipe is not None
        [completion] = completions_of(port, pipe.read(bytearray(20)))
        assert pipe.peer_process_id() == int(bytes(completion.data))
        completions_of(port, pipe.write(b"!"))
        assert child.wait(60) == 0
    ours, theirs = connected(port)
    assert (ours.peer_process_id(), theirs.peer_process_id()) == (os.getpid(), os.getpid())


# --- What is wrong --------------------------------------------------------------------------------


def test_wrong_arguments_are_refused_before_the_system_sees_them(port: CompletionPort) -> None:
    for settings, said in (
        ({"name": ""}, "needs a name"),
        ({"name": "a\\b"}, "without backslashes"),
        ({"name": "a\0b"}, "without backslashes"),
        ({"name": "x" * 300}, "at most 256 characters"),
        ({"name": r"\\.\mailslot\x"}, "no path of a pipe"),
        ({"name": r"\\server\pipe\x"}, "on this machine only"),
        ({"name": "x", "mode": "rw"}, "mode must be"),
        ({"name": "x", "instances": 0}, "instances must be"),
        ({"name": "x", "instances": 255}, "instances must be"),
        ({"name": "x", "buffer_size": -1}, "buffer_size must be"),
    ):
        with pytest.raises(ValueError, match=said):
            port.pipe_server(**settings)
    with pytest.raises(ValueError, match="mode must be"):
        port.pipe("x", mode="a")
    with pytest.raises(TypeError, match="is a str"):
        port.pipe(b"x")  # type: ignore[arg-type]
    assert pipe_path("x") == r"\\.\pipe\x"
    assert pipe_path(r"\\server\pipe\x") == r"\\server\pipe\x"


def test_refused_instances_leave_nothing() -> None:
    """C14: no memory for an instance, for its place on the port, for the accept: 100 times each."""
    from pyiocp.observing.handle_count import handle_count

    for function, result in (
        ("CreateNamedPipeW", int(INVALID_HANDLE_VALUE)),
        ("CreateIoCompletionPort", None),
        ("ConnectNamedPipe", 0),
    ):
        kernel = FaultyKernel()
        refusal = Refusal(ERROR_NOT_ENOUGH_MEMORY, result)
        refusal.enabled = False
        kernel.wrap(function, refusal)
        with CompletionPort(kernel=kernel) as port:
            server = port.pipe_server(unused_name())
            first = server.accept()
            gc.collect()
            handles = handle_count()
            refusal.enabled = True
            for _ in range(100):
                with pytest.raises(ResourceLimitError, match=f"{function} failed"):
                    server.accept()
            refusal.enabled = False
            assert refusal.refused >= 100
            assert handle_count() <= handles
            assert port.in_flight_by_kind() == {"accept": 1}
            port.pipe(server.name)
            [completion] = completions_of(port, first)
            assert completion.error is None


def test_failed_accept_does_not_take_the_server_down(port: CompletionPort) -> None:
    """An instance thrown out of its accept is replaced by another one."""
    name = unused_name()
    server = port.pipe_server(name)
    accept = server.accept()
    [instance] = instances_of(port, name)
    try:
        instance.disconnect()
    except IocpError:
        instance.close()
    [completion] = completions_of(port, accept)
    assert completion.error is not None
    second = server.accept()
    port.pipe(name)
    [completion] = completions_of(port, second)
    assert completion.error is None
