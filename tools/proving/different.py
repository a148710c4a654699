"""Where mingw-w64's headers and Microsoft's differ, or where a declaration means to differ.

Each entry is checked: the headers must be as it says, the declaration must be as
Microsoft has it, and the two must not be the same, so that an entry goes when
mingw-w64 has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass

from .absent import MICROSOFT


@dataclass(frozen=True)
class Different:
    """A declaration of mingw-w64's that differs from Microsoft's own."""

    subject: str
    """A function, an alias, or a structure and its field."""
    headers: str
    """Its C type there."""
    sdk: str
    """Its C type in the Windows SDK."""
    source: str


DIFFERENT: tuple[Different, ...] = (
    Different(
        "ADDRINFOEXW.ai_next",
        headers="struct addrinfoexW *",  # its own tag misspelled: addrinfoExW
        sdk="ADDRINFOEXW *",
        source=f"{MICROSOFT}/win32/api/ws2def/ns-ws2def-addrinfoexw",
    ),
    Different(
        "LPLOOKUPSERVICE_COMPLETION_ROUTINE",
        headers="void *",
        sdk="void (__stdcall *)(DWORD, DWORD, LPWSAOVERLAPPED)",
        source=f"{MICROSOFT}/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexw",
    ),
)

PADDING = {"OBJECT_ATTRIBUTES": ("pad1", "pad2")}
"""Members that mingw-w64 spells out where Microsoft leaves the padding to the compiler."""

HIDDEN = {
    "PTP_CALLBACK_ENVIRON": "only functions of Windows look into it; pyiocp passes NULL",
}
"""Pointers declared without a target on purpose, though the headers show it, and why."""

MACROS: dict[str, tuple[tuple[int, ...], ...]] = {
    "WSA_CMSG_LEN": tuple((length,) for length in range(34)),
    "WSA_CMSG_SPACE": tuple((length,) for length in range(34)),
    "WSA_CMSG_FIRSTHDR": (),
    "WSA_CMSG_NXTHDR": (),
    "WSA_CMSG_DATA": (),
}
"""Macros of the headers that are Python functions, and arguments for which both must give
the same. None where a macro works on memory: then only its name is looked up."""
