"""Standard input of a console: typed by another program, as no test has hands."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from commands import run_python
from deadline import DEADLINE_S

PROGRAM = """
    import asyncio, os
    from pyiocp import aio

    async def main():
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        console = open("CONIN$", encoding="utf-8")
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), console)
        os.write(1, b"ready\\n")
        for _ in range(2):
            os.write(1, ascii(await reader.readline()).encode() + b"\\n")

    aio.run(main())
    os.write(1, b"over\\n")
    """

KEYBOARD = """
    import ctypes, sys
    from ctypes import wintypes

    class KeyEvent(ctypes.Structure):
        _fields_ = [
            ("EventType", wintypes.WORD), ("bKeyDown", wintypes.BOOL),
            ("wRepeatCount", wintypes.WORD), ("wVirtualKeyCode", wintypes.WORD),
            ("wVirtualScanCode", wintypes.WORD), ("UnicodeChar", wintypes.WCHAR),
            ("dwControlKeyState", wintypes.DWORD),
        ]

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.CreateFileW.restype = wintypes.HANDLE
    kernel32.FreeConsole()
    if not kernel32.AttachConsole(int(sys.argv[1])):
        sys.exit(f"AttachConsole failed with {ctypes.get_last_error()}")
    console = wintypes.HANDLE(kernel32.CreateFileW("CONIN$", 0xC0000000, 3, None, 3, 0, None))
    for character in sys.argv[2] + "\\r":
        for down in (True, False):
            key = 13 if character == "\\r" else 0
            event = KeyEvent(1, down, 1, key, 0, character, 0)
            done = ctypes.byref(wintypes.DWORD())
            if not kernel32.WriteConsoleInputW(console, ctypes.byref(event), 1, done):
                sys.exit(f"WriteConsoleInputW failed with {ctypes.get_last_error()}")
    """


def test_lines_typed_on_a_console_come_as_utf_8_and_the_exit_does_not_wait() -> None:
    """When the program ends its thread waits for a third line, which nobody types."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        creationflags=subprocess.CREATE_NO_WINDOW,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            for typed, expected in (("ol\u00e9", rb"ol\xc3\xa9\r\n"), ("two", rb"two\r\n")):
                keyboard = run_python("-c", textwrap.dedent(KEYBOARD), str(process.pid), typed)
                assert keyboard.stderr == ""
                assert process.stdout.readline() == f"b'{expected.decode()}'\n"
            assert process.stdout.readline() == "over\n"
            assert process.wait(DEADLINE_S) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()
