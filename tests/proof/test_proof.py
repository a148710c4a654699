"""The declarations agree with the Windows SDK's headers, and the proof would notice if not.

Every test runs ``tools/proof.py`` the way a person does. The tests of what it notices run
it on a copy of the package with one thing changed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = ("x86_64-w64-mingw32-gcc", "i686-w64-mingw32-gcc")
MISSING = [compiler for compiler in COMPILERS if shutil.which(compiler) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}")

Run = subprocess.CompletedProcess[str]


def prove(*arguments: str) -> Run:
    """Run the proof."""
    command = [sys.executable, str(ROOT / "tools" / "proof.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def altered(tmp_path: Path) -> Callable[[str, str, str], Run]:
    """Prove a copy of the package in which one place of one file is changed."""

    def run(file: str, pattern: str, replacement: str) -> Run:
        copy = tmp_path / "pyiocp"
        shutil.copytree(ROOT / "pyiocp", copy, ignore=shutil.ignore_patterns("__pycache__"))
        changed = copy / "winapi" / file
        text, count = re.subn(pattern, replacement, changed.read_text(encoding="utf-8"))
        assert count == 1, f"{count} places of {file} match {pattern}"
        changed.write_text(text, encoding="utf-8")
        return prove("--package", str(copy))

    return run


def disagreements(run: Run) -> list[str]:
    """Return what the proof found wrong, one line each."""
    _, found, listed = run.stdout.partition(" disagreements:\n")
    assert found, f"no disagreements in\n{run.stdout}{run.stderr}"
    return [line.strip() for line in listed.splitlines()]


def test_every_declaration_agrees_with_the_headers() -> None:
    """The proof of this checkout ends in 0, for both targets, and has proven something."""
    run = prove()
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    assert " disagreements:" not in run.stdout
    counts = dict(re.findall(r"^  (\w+) +(\d+ +\d+)$", run.stdout, re.MULTILINE))
    assert {"function", "structure", "field", "constant", "alias"} <= counts.keys()


# What is changed: file, pattern, replacement; then what the complaint must say. The
# patterns name declarations that every version of the package has.
CHANGES = {
    "a field's type": (
        "overlapped.py",
        r'\("Internal", ULONG_PTR\),\n        \("InternalHigh"',
        '("Internal", HANDLE),\n        ("InternalHigh"',
        ["OVERLAPPED.Internal is declared as HANDLE, the headers have ULONG_PTR"],
    ),
    "a field's sign": (
        "overlapped.py",
        r'\("Offset", DWORD\)',
        '("Offset", INT)',
        ["OVERLAPPED.Offset", "the headers have DWORD (long unsigned int)"],
    ),
    "the order of fields": (
        "overlapped.py",
        r'(\("lpCompletionKey", ULONG_PTR\),)(\s+)(\("lpOverlapped", LPOVERLAPPED\),)',
        r"\3\2\1",
        ["OVERLAPPED_ENTRY.lpOverlapped is declared at offset 0, the headers have 8"],
    ),
    "a field left out where there is padding": (
        "overlapped.py",
        r'\("dwNumberOfBytesTransferred", DWORD\),',
        "",
        ["OVERLAPPED_ENTRY is declared without a field"],
    ),
    "a constant": (
        "errorcodes.py",
        r"\bERROR_NETNAME_DELETED = 64\b",
        "ERROR_NETNAME_DELETED = 65",
        ["ERROR_NETNAME_DELETED is declared as 65 (0x41), the headers have 64"],
    ),
    "a constant's sign": (
        "kernel32/constants.py",
        r"\bINFINITE = 0xFFFFFFFF\b",
        "INFINITE = -1",
        ["INFINITE is declared as -1", "the headers have 4294967295"],
    ),
    "the order of a function's arguments": (
        "kernel32/ports.py",
        r"(lpNumberOfBytesTransferred: LPDWORD,)(\s+)(lpCompletionKey: PULONG_PTR,)",
        r"\3\2\1",
        ["GetQueuedCompletionStatus is declared as (HANDLE, PULONG_PTR, LPDWORD"],
    ),
    "the order of arguments of one type": (
        "kernel32/ports.py",
        r"(    FileHandle: HANDLE,\n)(    ExistingCompletionPort: HANDLE,\n)",
        r"\2\1",
        ["CreateIoCompletionPort has (ExistingCompletionPort, FileHandle,"],
    ),
    "a const": (
        "ws2_32/addresses.py",
        r"(def connect\([^)]*)ConstPointer\[",
        r"\1Pointer[",
        ["connect is declared as"],
    ),
    "a function's result": (
        "kernel32/handles.py",
        r"def CloseHandle\(hObject: HANDLE\) -> BOOL",
        "def CloseHandle(hObject: HANDLE) -> HANDLE",
        ["CloseHandle is declared as (HANDLE) -> HANDLE, the headers have WINBOOL"],
    ),
    "the calling convention": (
        "binding.py",
        r"_STDCALL = 0x0 if WINDOWS else 0x1",
        "_STDCALL = 0x1",
        ["CloseHandle is declared as", "LPOVERLAPPED_COMPLETION_ROUTINE is declared as"],
    ),
    "a callback's type": (
        "kernel32/ports.py",
        r"(dwErrorCode): DWORD",
        r"\1: ULONG_PTR",
        ["LPOVERLAPPED_COMPLETION_ROUTINE is declared as (ULONG_PTR, DWORD, LPOVERLAPPED)"],
    ),
    "an alias's width": (
        "types.py",
        r"\nULONG_PTR = ctypes.c_size_t",
        r"\nULONG_PTR = ctypes.c_uint64",
        ["ULONG_PTR is declared as ctypes.c_uint64", "[i686]"],
    ),
    "an alias's target": (
        "types.py",
        r"\nLPDWORD = Pointer\[DWORD\]",
        r"\nLPDWORD = Pointer[INT]",
        ["LPDWORD is declared as Pointer[INT], the headers have LPDWORD (long unsigned int *)"],
    ),
    "a function that the SDK does not have": (
        "kernel32/handles.py",
        r"def CloseHandle\(",
        "def CloseHandles(",
        ["CloseHandles is neither in the headers nor in absent.py"],
    ),
    "a constant that the SDK does not have": (
        "kernel32/constants.py",
        r"\nINFINITE =",
        "\nINFINITE_AND_MORE = 1\nINFINITE =",
        ["INFINITE_AND_MORE is neither in the headers nor in absent.py"],
    ),
    "a declaration that is made at run time": (
        "kernel32/constants.py",
        r"\nINFINITE =",
        '\nglobals()["INFINITE_TOO"] = 1\nINFINITE =',
        ["INFINITE_TOO is made at run time"],
    ),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_the_proof_refuses_and_names(changed: str, altered: Callable[[str, str, str], Run]) -> None:
    """With one thing changed the proof ends in 1 and says what and where it is."""
    file, pattern, replacement, said = CHANGES[changed]
    run = altered(file, pattern, replacement)
    found = disagreements(run)
    assert run.returncode == 1
    for expected in said:
        assert any(expected in line for line in found), "\n".join(found)
    assert any(f"winapi/{file}:" in line.replace("\\", "/") for line in found) or (
        file in ("binding.py", "types.py", "kernel32/constants.py")
    ), "\n".join(found)
