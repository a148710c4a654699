"""mingw-w64's compilers, asked about lines of C.

Three questions are put to it. *Has* the SDK a name: a line that uses it compiles or does
not. *Holds* a line: likewise. *What* has it instead: a pointer of an unlike type is
initialised with the expression, and the warning tells the expression's type; numbers and
GUIDs are compiled into a section of the object file and read from there.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADERS = (
    "winsock2.h",
    "ws2tcpip.h",
    "mswsock.h",
    "mstcpip.h",
    "afunix.h",
    "windows.h",
    "winternl.h",
    "ntstatus.h",
    "psapi.h",
    "sddl.h",
)

FLAGS = (
    "-std=gnu11",
    "-D_WIN32_WINNT=0x0A00",
    "-DNTDDI_VERSION=0x0A000010",  # later than all that the headers know
    "-DWIN32_LEAN_AND_MEAN",
    "-fno-diagnostics-show-caret",
    "-fdiagnostics-color=never",
    "-ftrack-macro-expansion=0",  # an error in a macro's expansion is reported where it is used
    "-Werror=missing-field-initializers",
    "-Wno-pointer-to-int-cast",
    "-Wno-error=incompatible-pointer-types",  # an error since gcc 14; types() reads it
)

MACRO_BODY = re.compile(r"^(#define \w+).*|^#.*\n", re.MULTILINE)
DIAGNOSTIC = re.compile(r"^[^:\n]*proof\.c:(\d+):\d+: (error|warning): (.*)$", re.MULTILINE)
UNLIKE = re.compile(r"from incompatible pointer type '([^']*)'(?: \{aka '([^']*)'\})?")

SECTION = "$p"
"""How the sections of records begin; eight characters are all that a section's name has."""


class CompilerMissingError(Exception):
    """There is no such compiler here; the message says how to get one."""


@dataclass(frozen=True)
class Target:
    """One of Windows' two kinds of process."""

    name: str
    pointer_size: int

    @property
    def command(self) -> str:
        """The compiler's name on PATH."""
        return f"{self.name}-w64-mingw32-gcc"


TARGETS = (Target("x86_64", 8), Target("i686", 4))


@dataclass(frozen=True)
class Answer:
    """What the compiler said about the lines it was given."""

    errors: dict[int, str]
    """The first error of each refused line, by the line's index."""
    warnings: dict[int, str]
    elsewhere: str
    """What it refused outside of the lines; empty when all is well."""
    sections: dict[str, bytes]
    """The contents of the object file's sections for records, if it compiled."""


class Compiler:
    """gcc for one target, with the SDK's headers."""

    def __init__(self, target: Target, prepared: Path | None = None) -> None:
        """`prepared` is a folder where precompiled headers are kept for the next proof."""
        found = shutil.which(target.command)
        if found is None:
            package = f"gcc-mingw-w64-{target.name.replace('_', '-')}"
            raise CompilerMissingError(
                f"{target.command} is not on PATH: on Debian, apt-get install {package}"
            )
        self._path = found
        self._includes = "".join(f"#include <{header}>\n" for header in HEADERS)
        self._preprocessed = ""
        self._prepared = prepared / target.name if prepared else None
        if self._prepared is not None:
            self._includes = self._precompile(self._prepared)

    def _precompile(self, folder: Path) -> str:
        """Precompile the headers into `folder`, once; return what includes them."""
        header, done = folder / "sdk.h", folder / "sdk.h.gch"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            header.write_text(self._includes, encoding="utf-8")
            making = folder / "making.gch"
            command = [self._path, *FLAGS, "-x", "c-header", str(header), "-o", str(making)]
            subprocess.run(command, check=True)
            making.replace(done)
        return f'#include "{header.as_posix()}"\n'

    def ask(self, lines: Sequence[str], before: str = "") -> Answer:
        """Compile `before` and then `lines`, each of which is judged on its own."""
        top = self._includes + before
        first = top.count("\n") + 1
        with tempfile.TemporaryDirectory(prefix="proof-") as folder:
            source, binary = Path(folder, "proof.c"), Path(folder, "proof.o")
            source.write_text(top + "\n".join(lines) + "\n", encoding="utf-8")
            done = subprocess.run(
                [self._path, *FLAGS, "-c", str(source), "-o", str(binary)],
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
            sections = read_sections(binary.read_bytes()) if binary.exists() else {}
        errors: dict[int, str] = {}
        warnings: dict[int, str] = {}
        elsewhere = ""
        for number, severity, message in DIAGNOSTIC.findall(done.stderr):
            index = int(number) - first
            if index >= 0:
                (errors if severity == "error" else warnings).setdefault(index, message)
            elif severity == "error":
                elsewhere += message + "\n"
        if done.returncode and not errors and not elsewhere:
            elsewhere = done.stderr
        return Answer(errors, warnings, elsewhere, sections)

    def version(self) -> int:
        """Return which major version of mingw-w64 the headers are of."""
        [version] = self.numbers(["__MINGW64_VERSION_MAJOR"], "")
        return version or 0

    def preprocessed(self) -> str:
        """Return the text of the headers with macros resolved, and the macros' names."""
        if self._preprocessed:
            return self._preprocessed
        kept = self._prepared and self._prepared / "sdk.i"
        if kept is not None and kept.exists():
            self._preprocessed = kept.read_text(encoding="utf-8")
            return self._preprocessed
        text = subprocess.run(
            [self._path, *FLAGS, "-E", "-P", "-dD", "-x", "c", "-"],
            input="".join(f"#include <{header}>\n" for header in HEADERS),
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=True,
        ).stdout
        self._preprocessed = MACRO_BODY.sub(r"\1", text)
        if kept is not None:
            kept.write_text(self._preprocessed, encoding="utf-8")
        return self._preprocessed

    def exports(self, dll: str) -> set[str]:
        """Return the names that `dll` exports, from the SDK's import library of it."""
        command = [self._path, f"-print-file-name=lib{Path(dll).stem}.a"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        library = Path(found)  # the bare name, if there is no such library
        content = library.read_bytes() if library.is_absolute() else b""
        return {name.decode() for name in re.findall(rb"__imp_(\w+)", content)}

    def types(self, expressions: Sequence[str], before: str) -> list[str]:
        """Return the types that pointers point to, as the compiler names them."""
        lines = [
            f"struct proof_unlike *proof_type_{index} = {expression or '0'};"
            for index, expression in enumerate(expressions)
        ]
        answer = self.ask(lines, before)
        return [pointed_to(answer.warnings.get(index, "")) for index in range(len(lines))]

    def numbers(self, expressions: Sequence[str], before: str) -> list[int | None]:
        """Return the values of numbers, as 64 bits without a sign; None where there is none."""
        lines = [
            f"const unsigned long long proof_number_{index} = {expression or '0'};"
            for index, expression in enumerate(expressions)
        ]
        refused = self.ask(lines, before).errors
        whole = [
            ("unsigned long long", "0" if index in refused else f"({expression or '0'})")
            for index, expression in enumerate(expressions)
        ]
        return [
            None if index in refused else int.from_bytes(record, "little")
            for index, record in enumerate(self.records(whole, before))
        ]

    def records(self, wanted: Sequence[tuple[str, str]], before: str) -> list[bytes]:
        """Return the bytes of objects, given type and initializer of each.

        No bytes for one that the compiler refuses.
        """

        def line(index: int) -> str:
            ctype, initializer = wanted[index]
            section = f'__attribute__((section("{SECTION}{index}")))'
            return f"const {ctype} proof_record_{index} {section} = {initializer};"

        indexes = range(len(wanted))
        answer = self.ask([line(index) for index in indexes], before)
        if answer.errors:
            usable = [index for index in indexes if index not in answer.errors]
            answer = self.ask([line(index) for index in usable], before)
        return [answer.sections.get(f"{SECTION}{index}", b"") for index in indexes]


def read_sections(coff: bytes) -> dict[str, bytes]:
    """Return the contents of the proof's sections of an object file, without padding."""
    sections = {}
    count, header_size = struct.unpack_from("<2xH12xH", coff)
    for index in range(count):
        at = 20 + header_size + 40 * index
        name, size, start = struct.unpack_from("<8s8xII", coff, at)
        if name.startswith(SECTION.encode()):
            sections[name.rstrip(b"\0").decode()] = coff[start : start + size]
    return sections


def pointed_to(warning: str) -> str:
    """Return the type that a warning of unlike pointers tells, without the pointer."""
    found = UNLIKE.search(warning)
    if found is None:
        return warning
    spelled, resolved = (part and re.sub(r" ?\*$", "", part) for part in found.groups())
    return f"{spelled} ({resolved})" if resolved else str(spelled)
