"""A signature becomes a function: its help, its errors, its absence, and what it exports."""

from __future__ import annotations

import ctypes
import functools
import importlib
import inspect
import operator
import pkgutil
import pydoc
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from ctypes import byref
from pathlib import Path

import pytest

from pyiocp import winapi
from pyiocp.winapi import *
from pyiocp.winapi import binding
from pyiocp.winapi.binding import DECLARED, Callback, Declaration, Function, Library
from pyiocp.winapi.exports import is_win32

OURS = ("kernel32.dll", "ntdll.dll", "psapi.dll")

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="calls Windows")


def modules() -> list[types.ModuleType]:
    """Return every module of the package."""
    found = pkgutil.walk_packages(winapi.__path__, f"{winapi.__name__}.")
    return [importlib.import_module(info.name) for info in found]


# --- What a user reads ----------------------------------------------------------------------------


def test_help_shows_the_signature_and_the_parameters() -> None:
    """help(): parameters with types, the result, units, the errors, Microsoft's page."""
    text = pydoc.plain(pydoc.render_doc(GetQueuedCompletionStatusEx))
    for expected in (
        "GetQueuedCompletionStatusEx(CompletionPort: HANDLE, lpCompletionPortEntries: "
        "LPOVERLAPPED_ENTRY, ulCount: ULONG, ulNumEntriesRemoved: PULONG, dwMilliseconds: DWORD, "
        "fAlertable: BOOL) -> BOOL",
        "ulCount: how many entries the array has",
        "WAIT_TIMEOUT (258)",
        "Source: https://learn.microsoft.com/",
    ):
        assert expected in text


def test_a_repr_shows_the_signature_and_the_dll() -> None:
    """The same for a function that exists and for one that does not."""
    assert "<CancelIo(hFile: HANDLE) -> BOOL in kernel32.dll>" == repr(CancelIo)
    missing = Function.__repr__(binding._Missing(CancelIo.declaration))
    assert "<CancelIo(hFile: HANDLE) -> BOOL in kernel32.dll>" == missing


def test_every_function_is_documented() -> None:
    """A summary, a source, a first version of Windows, and the parameters by name.

    A function may say instead that its parameters are another's. Winsock's leave out the
    socket, which all of them begin with.
    """
    lacking = {}
    for name, function in DECLARED.items():
        declaration = function.declaration
        paragraphs = inspect.cleandoc(declaration.doc).split("\n\n")
        lacking[name] = []
        if not paragraphs[0].endswith("."):
            lacking[name].append("a summary")
        if "Source: https://" not in paragraphs[-1]:
            lacking[name].append("a source")
        if not declaration.since.startswith("Windows "):
            lacking[name].append("a first version")
        if declaration.library in OURS and "parameters" not in declaration.doc:
            names = [parameter for parameter, _ in declaration.parameters]
            lacking[name] += [parameter for parameter in names if parameter not in declaration.doc]
    assert {} == {name: things for name, things in lacking.items() if things}


def test_every_structure_and_callback_is_documented() -> None:
    """Each that a star import gives says where it is defined."""
    kinds = (Callback, ctypes.Structure, ctypes.Union)
    given = {name: getattr(winapi, name) for name in winapi.__all__}
    lacking = [
        name
        for name, kind in given.items()
        if isinstance(kind, type)
        and issubclass(kind, kinds)
        and "Source: https://" not in (kind.__doc__ or "")
    ]
    assert [] == lacking


# --- What is missing ------------------------------------------------------------------------------


@pytest.fixture
def missing() -> Iterator[Function[int]]:
    """A declared function that no Windows has, for as long as the test runs."""

    @Library("kernel32.dll")(since="Windows 3000")
    def NoSuchFunction(hFile: HANDLE) -> BOOL:
        """Do what no Windows does."""

    yield NoSuchFunction
    del DECLARED["NoSuchFunction"]


def test_a_missing_function_says_so_when_it_is_called(missing: Function[int]) -> None:
    """The error names the function, and the Windows or the system that would have it."""
    with pytest.raises(FunctionUnavailableError) as raised:
        missing(1)
    message = str(raised.value)
    assert "NoSuchFunction" in message
    expected = "Windows 3000" if sys.platform == "win32" else "Python for Windows"
    assert expected in message
    assert isinstance(raised.value, NotImplementedError)


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (True, "this Windows has no Later in kernel32.dll: it came with Windows 12"),
        (
            False,
            f"Later is a function of Windows, and this is {sys.platform}: "
            "run the program with Python for Windows",
        ),
    ],
)
def test_the_message_fits_the_system(
    monkeypatch: pytest.MonkeyPatch, windows: bool, message: str
) -> None:
    """On Windows a newer version is the remedy, elsewhere Windows' own Python."""
    monkeypatch.setattr(binding, "WINDOWS", windows)

    def Later() -> None: ...

    later = binding._Missing(Declaration.of(Later, "kernel32.dll", "Windows 12"))
    with pytest.raises(FunctionUnavailableError) as raised:
        later()
    assert message == str(raised.value)
    with pytest.raises(FunctionUnavailableError):
        untyped(later)()


@pytest.mark.usefixtures("missing")
def test_available_tells_beforehand() -> None:
    """True for what is here, False for what is not, KeyError for what nobody declared."""
    assert (sys.platform == "win32") is available("CancelIoEx")
    assert not available("NoSuchFunction")
    with pytest.raises(KeyError):
        available("CancelIoExEx")


@pytest.mark.skipif(sys.platform == "win32", reason="about other systems")
def test_last_error_is_of_windows() -> None:
    """Off Windows there is none."""
    with pytest.raises(FunctionUnavailableError):
        last_error()


# --- What a call does -----------------------------------------------------------------------------


@on_windows
def test_the_error_is_captured_with_the_call() -> None:
    """C26: another call that sets the thread's error in between changes nothing."""
    outside = ctypes.WinDLL("kernel32")
    assert not CancelIoEx(INVALID_HANDLE_VALUE - 8, None)
    expected = last_error()
    outside.SetLastError(12345)
    Path(__file__).read_bytes()
    assert (ERROR_INVALID_HANDLE, ERROR_INVALID_HANDLE) == (expected, last_error())


@on_windows
def test_a_success_leaves_the_error_alone() -> None:
    """last_error() is about the last call that set one: ask after a failure only."""
    assert not CloseHandle(INVALID_HANDLE_VALUE - 8)
    assert GetCurrentThreadId()
    assert ERROR_INVALID_HANDLE == last_error()


@on_windows
def test_an_untyped_function_takes_ready_made_arguments() -> None:
    """It makes the same call, and captures the same error."""
    wait = untyped(WaitForSingleObject)
    assert WAIT_FAILED - 2**32 == wait(HANDLE(INVALID_HANDLE_VALUE - 8), DWORD(0))
    assert ERROR_INVALID_HANDLE == last_error()
    event = CreateEventW(None, True, True, None)
    assert WAIT_OBJECT_0 == wait(HANDLE(event), DWORD(0))
    assert CloseHandle(event)


@on_windows
@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="there is no GIL to keep"
)
@pytest.mark.parametrize("keeps_gil", [True, False])
def test_a_call_keeps_the_gil_if_told_to(keeps_gil: bool) -> None:
    """A thread that counts goes on during a call, or does not; between two bytecodes it may."""
    wait = untyped(WaitForSingleObject, keeps_gil=keeps_gil)
    event = CreateEventW(None, True, False, None)
    counts, over = [0], threading.Event()

    def count() -> None:
        while not over.is_set():
            counts[0] += 1

    read = functools.partial(operator.getitem, counts, 0)
    calls = (read, functools.partial(wait, HANDLE(event), DWORD(50)), read)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        seen = [tuple(map(operator.call, calls)) for _ in range(5)]
    finally:
        over.set()
        thread.join(60)
        assert CloseHandle(event)
    assert {WAIT_TIMEOUT} == {result for _, result, _ in seen}
    assert keeps_gil == all(before == after for before, _, after in seen)


@on_windows
def test_arguments_are_converted_and_refused_by_type() -> None:
    """None is NULL for pointers and callbacks; a fraction is no handle."""
    assert SetConsoleCtrlHandler(None, False) in (0, 1)
    with pytest.raises(ctypes.ArgumentError):
        CloseHandle(1.5)
    with pytest.raises(ctypes.ArgumentError):
        GetHandleInformation(1, byref(ULONG_PTR()))
    with pytest.raises(ctypes.ArgumentError):
        QueueUserAPC(len, GetCurrentThread(), 0)
    with pytest.raises(TypeError):
        CloseHandle()


def test_every_parameter_needs_a_type() -> None:
    """A declaration that forgets one is refused where it stands."""

    def Half(hFile: HANDLE, Flags) -> BOOL: ...  # type: ignore[no-untyped-def, empty-body]

    with pytest.raises(TypeError, match="every parameter needs a type"):
        Declaration.of(Half, "kernel32.dll", "Windows XP")


def test_a_callback_has_the_types_of_its_signature() -> None:
    """It can be called like the function that Windows would call, and converts both ways."""
    called = []
    routine = LPOVERLAPPED_COMPLETION_ROUTINE(lambda *given: called.append(given))
    overlapped = OVERLAPPED(Offset=9)
    routine(3, 4, byref(overlapped))
    ((error, moved, pointer),) = called
    assert (3, 4, 9) == (error, moved, pointer.contents.Offset)
    expected = "PHANDLER_ROUTINE(CtrlType: DWORD) -> BOOL"
    assert expected == str(PHANDLER_ROUTINE.declaration)
    assert 1 == PHANDLER_ROUTINE(lambda kind: kind == CTRL_C_EVENT)(CTRL_C_EVENT)


def test_the_argument_types_are_those_of_the_signature() -> None:
    """Declaration.argtypes and restype, for a function of each kind of result."""
    declaration = GetFileSizeEx.declaration
    assert (HANDLE, PLARGE_INTEGER) == declaration.argtypes
    assert BOOL is declaration.restype
    assert None is StartThreadpoolIo.declaration.restype
    assert HANDLE is CreateEventW.declaration.restype


# --- What a star import gives ---------------------------------------------------------------------

HELPERS = {
    "FunctionUnavailableError",
    "available",
    "error_name",
    "last_error",
    "status_name",
    "untyped",
}


def test_a_star_import_gives_win32_and_six_helpers() -> None:
    """No module, no ``annotations``, no machinery; nothing twice."""
    names = list(winapi.__all__)
    assert len(names) == len(set(names))
    assert HELPERS == {name for name in names if not is_win32(name, getattr(winapi, name))}
    assert not {"annotations", "binding", "kernel32", "Callback", "Structure"} & set(names)


def test_every_declaration_is_given() -> None:
    """What a module of the package declares, a star import of the package has."""
    given = set(winapi.__all__)
    declared = {
        name
        for module in modules()
        for name, value in vars(module).items()
        if is_win32(name, value)
    }
    assert set() == declared - given
    assert set() == set(DECLARED) - given


def test_a_name_means_the_same_in_every_module() -> None:
    """No two modules give one name to different things."""
    meanings: dict[str, object] = {}
    for module in modules():
        for name, value in vars(module).items():
            if is_win32(name, value):
                known = meanings.setdefault(name, value)
                assert known is value or known == value, f"{module.__name__}.{name}"


@pytest.mark.parametrize("name", ["kernel32", "ntdll", "psapi", "ws2_32", "mswsock", "types"])
def test_a_submodule_stays_a_submodule(name: str) -> None:
    """The DLL's own object of the same name does not hide it."""
    assert isinstance(getattr(winapi, name), types.ModuleType)


def test_nothing_loads_a_dll_off_windows() -> None:
    """A fresh interpreter imports the package without ctypes.windll."""
    if sys.platform == "win32":
        pytest.skip("about other systems")
    script = "import pyiocp.winapi, ctypes; print(hasattr(ctypes, 'windll'))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "False" == run.stdout.strip()


@on_windows
def test_a_function_that_is_looked_up_on_a_socket_has_no_untyped_form_of_its_own() -> None:
    with pytest.raises(TypeError, match="has a pointer per socket"):
        untyped(AcceptEx)
