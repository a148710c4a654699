#!/usr/bin/env python3
"""Prove pyiocp's declarations against the headers of the Windows SDK.

    python tools/proof.py                    this checkout
    python tools/proof.py --package PATH     another copy of the folder ``pyiocp``
    python tools/proof.py --list             every declaration, and what proves it

The proof turns every declaration of ``pyiocp.winapi`` into lines of C and has mingw-w64's
compilers accept or refuse them, for 64-bit and for 32-bit Windows: the width, sign or
target of each type, size, offset and exact type of each field, the value of each
constant, the exact type of each function and callback, calling convention and ``const``
included, and the DLL of each function. What those headers lack is proven against
``proving/absent.py``.

It needs Debian's gcc-mingw-w64-x86-64 and gcc-mingw-w64-i686 and nothing else. The exit
code is 0 if everything holds, 1 if something does not, 2 if a compiler is missing.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

from proving.compiler import TARGETS, CompilerMissingError
from proving.package import Package
from proving.verdict import Verdict, prove


def report(verdict: Verdict) -> str:
    """Return the summary: how much is proven, and against what."""
    kinds = [kind for kind in verdict.counts[0] if any(counts[kind] for counts in verdict.counts)]
    width = max(len(kind) for kind in kinds)
    heading = " ".join(f"{target.name:>7}" for target in verdict.targets)
    lines = [f"proven{'':{width - 4}}{heading}"]
    for kind in kinds:
        numbers = " ".join(f"{counts[kind]:7}" for counts in verdict.counts)
        lines.append(f"  {kind:{width}}{numbers}")
    lines += [
        "",
        f"Not in the headers of mingw-w64 {verdict.version}, proven against"
        " tools/proving/absent.py:",
    ]
    for entry in verdict.absent:
        lines += textwrap.wrap(
            ", ".join(entry.names), 96, initial_indent="  ", subsequent_indent="  "
        )
        lines.append(f"      {entry.source}")
    return "\n".join(lines)


def main() -> int:
    """Run the proof and print what came of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    here = Path(__file__).resolve().parent.parent / "pyiocp"
    parser.add_argument("--package", type=Path, default=here, help="the folder pyiocp to prove")
    parser.add_argument("--list", action="store_true", help="print every declaration proven")
    names = [target.name for target in TARGETS]
    parser.add_argument("--target", choices=names, help="prove for this one only")
    parser.add_argument("--headers", type=Path, help="a folder that keeps precompiled headers")
    arguments = parser.parse_args()
    try:
        package = Package(arguments.package.resolve())
        targets = [target for target in TARGETS if arguments.target in (None, target.name)]
        verdict = prove(package, targets, arguments.headers)
    except CompilerMissingError as error:
        print(f"proof: {error}", file=sys.stderr)
        return 2
    if arguments.list:
        print("\n".join(verdict.proven))
    print(report(verdict))
    if verdict.disagreements:
        many = "" if len(verdict.disagreements) == 1 else "s"
        print(f"\n{len(verdict.disagreements)} disagreement{many}:")
        print("\n".join(f"  {line}" for line in verdict.disagreements))
    return 1 if verdict.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
