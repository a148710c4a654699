"""Tell what this Windows, this Python and this process have to offer to completion ports.

That is the versions, the page size, the working set (of which a process can lock nearly the
minimum), which of the declared Win32 functions there are, extension functions and
registered I/O (RIO) among them, and whether there is a GIL.

examples:
  python -m pyiocp info
  python -m pyiocp info --functions
  python -m pyiocp info --json > info.json
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import platform
import socket
import sys
import sysconfig
from typing import Any

from .. import __version__
from ..memory.pages import PAGE_SIZE
from ..observing.handle_count import handle_count
from ..port import CompletionPort
from ..winapi import (
    AF_UNIX,
    DWORD,
    INVALID_SOCKET,
    RIO_EXTENSION_FUNCTION_TABLE,
    SIZE_T,
    SOCK_STREAM,
    SYSTEM_INFO,
    WSA_FLAG_OVERLAPPED,
    FunctionUnavailableError,
    GetCurrentProcess,
    GetLargePageMinimum,
    GetProcessWorkingSetSizeEx,
    GetSystemInfo,
    WSASocketW,
    available,
    closesocket,
    rio_functions,
)
from ..winapi.binding import DECLARED
from .json_output import add_json_option, print_json
from .table import show_table

HELP = "what this Windows has to offer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument(
        "--functions", action="store_true", help="list every function, with its DLL"
    )
    add_json_option(parser, "all of it, with every function,")


def run(options: argparse.Namespace) -> int:
    """Ask and print; 0."""
    facts = ask()
    if options.json:
        print_json(facts)
    else:
        show_facts(facts)
        if options.functions:
            show_functions(facts)
    return 0


def ask() -> dict[str, Any]:
    """Return everything, ready for JSON."""
    return {
        "pyiocp": __version__,
        "windows": {
            # The system's own version; the other numbers depend on the manifest.
            "version": ".".join(map(str, sys.getwindowsversion().platform_version)),
            "name": f"{platform.system()} {platform.release()}",
        },
        "python": {
            "version": platform.python_version(),
            "bits": ctypes.sizeof(ctypes.c_void_p) * 8,
            "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        },
        "machine": _machine(),
        "process": _process(),
        "offers": _offers(),
        "modules": {name: _version_of(name) for name in ("rich", "matplotlib")},
        "functions": [
            {
                "name": name,
                "library": function.declaration.library,
                "since": function.declaration.since,
                "extension": hasattr(function, "guid"),
                "there": available(name),
            }
            for name, function in sorted(DECLARED.items())
        ],
        "rio_functions": _rio_functions(),
    }


def _machine() -> dict[str, int]:
    system = SYSTEM_INFO()
    GetSystemInfo(ctypes.byref(system))
    return {
        "processors": system.dwNumberOfProcessors,
        "page_size": PAGE_SIZE,
        "allocation_granularity": system.dwAllocationGranularity,
        "large_page_size": GetLargePageMinimum(),
    }


def _process() -> dict[str, int]:
    least, most, flags = SIZE_T(), SIZE_T(), DWORD()
    sizes = ctypes.byref(least), ctypes.byref(most), ctypes.byref(flags)
    GetProcessWorkingSetSizeEx(GetCurrentProcess(), *sizes)
    return {
        "working_set_min": least.value,
        "working_set_max": most.value,
        "handles": handle_count(),
    }


def _offers() -> dict[str, bool]:
    """Return what a port can do here but not everywhere, by trying it."""
    with CompletionPort() as port:
        ours, peer = socket.socketpair()
        with peer:
            stream = port.stream(ours)
            skips = stream.skips_on_success
            stream.detach()
            leaves = not stream.associated
            port.kernel.closesocket(stream.number)
    return {
        "skip_on_success": skips,
        "leave_a_port": leaves,
        "wait_packets": available("NtCreateWaitCompletionPacket"),
        "registered_io": any(_rio_functions().values()),
        "unix_sockets": _has_unix_sockets(),
    }


def _has_unix_sockets() -> bool:
    number = WSASocketW(AF_UNIX, SOCK_STREAM, 0, None, 0, WSA_FLAG_OVERLAPPED)
    if number == INVALID_SOCKET:
        return False
    closesocket(number)
    return True


def _rio_functions() -> dict[str, bool]:
    names = [name for name, *_ in RIO_EXTENSION_FUNCTION_TABLE._fields_ if name != "cbSize"]
    with socket.socket() as ordinary:
        try:
            table = rio_functions(ordinary.fileno())
        except FunctionUnavailableError:
            return dict.fromkeys(names, False)
    return {name: bool(getattr(table, name)) for name in names}


def _version_of(name: str) -> str | None:
    """Return the version of an installed package, None if it cannot be imported."""
    if importlib.util.find_spec(name) is None:
        return None
    # Imported here, because it takes half as long as importing pyiocp does.
    from importlib.metadata import version  # noqa: PLC0415

    return version(name)


_OFFERS = {
    "skip_on_success": "packets of what is done on the spot can be left out",
    "leave_a_port": "a handle can leave its port",
    "wait_packets": "wait packets (NtCreateWaitCompletionPacket)",
    "registered_io": "registered I/O (RIO)",
    "unix_sockets": "AF_UNIX",
}


def show_facts(facts: dict[str, Any]) -> None:
    """Print it for people."""
    python, machine, process = facts["python"], facts["machine"], facts["process"]
    gil = "with a GIL" if python["gil"] else "without a GIL"
    build = ", a free-threaded build" if python["free_threaded"] else ""
    large = machine["large_page_size"]
    functions = facts["functions"]
    rows = [
        ("pyiocp", facts["pyiocp"]),
        ("Windows", f"{facts['windows']['version']} ({facts['windows']['name']})"),
        ("Python", f"{python['version']}, {python['bits']} bits, {gil}{build}"),
        ("processors", f"{machine['processors']}"),
        ("page", f"{machine['page_size']:,} bytes"),
        ("large page", f"{large:,} bytes" if large else "none"),
        (
            "working set",
            f"{process['working_set_min']:,} to {process['working_set_max']:,} bytes;"
            " nearly the first can be locked",
        ),
        ("handles", f"{process['handles']:,} in this process"),
        *((text, "yes" if facts["offers"][name] else "no") for name, text in _OFFERS.items()),
        *(
            (name, version or f"not installed ({_MODULES[name]})")
            for name, version in facts["modules"].items()
        ),
        ("Win32 functions", _counted_there([f for f in functions if not f["extension"]])),
        ("extension functions", _counted_there([f for f in functions if f["extension"]])),
    ]
    show_table(("what", "here"), rows)
    missing = [f for f in functions if not f["there"]]
    if missing:
        print("\nNot here:")
        show_table(
            ("function", "DLL", "came with"),
            [(f["name"], f["library"], f["since"]) for f in missing],
        )


_MODULES = {"rich": "pip install pyiocp[cli]", "matplotlib": "pip install pyiocp[bench]"}


def _counted_there(functions: list[dict[str, Any]]) -> str:
    there = sum(function["there"] for function in functions)
    return f"{there:,} of {len(functions):,}"


def show_functions(facts: dict[str, Any]) -> None:
    """Print every function for people."""
    print()
    show_table(
        ("function", "DLL", "came with", "here"),
        [
            (f["name"], f["library"], f["since"], "yes" if f["there"] else "no")
            for f in facts["functions"]
        ],
    )
