"""Where mingw-w64's headers and Microsoft's differ, or where a declaration means to differ.

Each entry is checked: the headers must be as it says, the declaration must be as
Microsoft has it, and the two must not be the same. An entry says from which version of
mingw-w64 on the headers are as Microsoft's: those must agree like all others.
"""

from __future__ import annotations

from dataclasses import dataclass

from .absent import MICROSOFT, NEWEST_KNOWN


@dataclass(frozen=True)
class Different:
    """A declaration of mingw-w64's that differs from Microsoft's own."""

    subject: str
    """A function, an alias, a constant, or a structure and its field."""
    headers: str
    """Its C type there, or its value."""
    sdk: str
    """Its C type in the Windows SDK, or its value."""
    source: str
    until: int = 0
    """The first version of mingw-w64 that agrees with the SDK; 0 while none does."""

    def holds(self, actual: str, declared: str, same: str, version: int) -> str:
        """Return C that holds if headers of `version` and declaration are as this entry says.

        `same` is a macro's name, or an operator's, that compares what stands in C.
        """

        def equal(a: str, b: str) -> str:
            return f"{a} {same} {b}" if same == "==" else f"{same}({a}, {b})"

        agree = equal(actual, declared)
        if self.until and version >= self.until:
            return agree
        differ = (
            f"{equal(actual, self.headers)} && {equal(declared, self.sdk)}"
            f" && !({equal(self.headers, self.sdk)})"
        )
        # Nobody knows yet what newer headers have: they may have caught up.
        return f"({differ}) || {agree}" if version > NEWEST_KNOWN else differ


DIFFERENT: tuple[Different, ...] = (
    Different(
        "ADDRINFOEXW.ai_next",
        headers="struct addrinfoexW *",  # its own tag misspelled: addrinfoExW
        sdk="ADDRINFOEXW *",
        source=f"{MICROSOFT}/win32/api/ws2def/ns-ws2def-addrinfoexw",
        until=11,
    ),
    Different(
        "LPLOOKUPSERVICE_COMPLETION_ROUTINE",
        headers="void *",
        sdk="void (__stdcall *)(DWORD, DWORD, LPWSAOVERLAPPED)",
        source=f"{MICROSOFT}/win32/api/ws2tcpip/nf-ws2tcpip-getaddrinfoexw",
        until=12,
    ),
    Different(
        "select",
        # Written as const PTIMEVAL, which makes the pointer constant and not what it points to.
        headers="int (__stdcall *)(int, fd_set *, fd_set *, fd_set *, struct timeval *)",
        sdk="int (__stdcall *)(int, fd_set *, fd_set *, fd_set *, const struct timeval *)",
        source=f"{MICROSOFT}/win32/api/winsock2/nf-winsock2-select",
        until=11,
    ),
    Different(
        "JOB_OBJECT_ALL_ACCESS",
        headers="0x1F001F",  # as in the first SDK of Windows 10, 10.0.10240
        sdk="0x1F003F",  # later ones, with JOB_OBJECT_IMPERSONATE
        source="winnt.h of the Windows SDK; the page of the access rights has the older value",
        until=11,
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
