"""The parameters' names, which the compiler does not compare.

Two handles swapped are of the same type, so that no compiler objects; their names tell.
The headers' spelling of a name is not authoritative (mingw-w64 wrote its own), their
order is: a declaration is refused when a name stands at another place than there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from .package import Declaration

WORD = re.compile(r"\w+")
PROTOTYPE = re.compile(r"\b(\w+)\)?\s*\(((?:[^;(){}]|\([^;(){}]*\))*)\)[^;{}(),]*[;{]")


def prototypes(preprocessed: str, wanted: Container[str]) -> dict[str, list[list[str]]]:
    """Return the parameters' names of each prototype of the functions or types `wanted`."""
    found: dict[str, list[list[str]]] = {}
    declarations = "\n".join(line for line in preprocessed.splitlines() if not line.startswith("#"))
    for match in PROTOTYPE.finditer(declarations):
        if match[1] in wanted:
            found.setdefault(match[1], []).append(list(_names(match[2])))
    return found


def _names(parameters: str) -> Iterator[str]:
    """Yield the last word of each parameter: its name, or its type if it has none."""
    flat = re.sub(r"\([^()]*\)|\[[^\]]*\]", " ", parameters)
    for parameter in flat.split(","):
        yield (WORD.findall(parameter) or [""])[-1]


def misplaced(declaration: Declaration, theirs: Sequence[Sequence[str]]) -> str:
    """Return what is wrong with the order of a function's parameters; empty if nothing."""
    ours = [name for name, _ in declaration.value.declaration.parameters]
    for names in theirs:
        for place, name in enumerate(ours[: len(names)]):
            if name in names and names[place] != name:
                return f"has ({', '.join(ours)}), the headers have ({', '.join(names)})"
    return ""
