"""A type as Python spells it, as C spells it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .package import Package
    from .source import Source


@dataclass
class Speller:
    """Translates types, and notes which names the C text relies on."""

    package: Package
    tags: Mapping[str, str]
    """How C spells a name that is not a typedef: ``sockaddr`` is ``struct sockaddr``."""
    used: set[str] = field(default_factory=set)

    def name(self, name: str) -> str:
        """Return the C spelling of a name of the headers."""
        self.used.add(name)
        return self.tags.get(name, name)

    def type(self, spelled: ast.expr | str, source: Source) -> str:
        """Return the C spelling of a type that `source` spells in Python."""
        if isinstance(spelled, str):
            spelled = ast.parse(spelled, mode="eval").body
        if isinstance(spelled, ast.Constant):
            return "void" if spelled.value is None else self.type(str(spelled.value), source)
        if isinstance(spelled, ast.BinOp):
            count = int(source.value(spelled.right))
            return f"__typeof__({self.type(spelled.left, source)} [{count}])"
        if isinstance(spelled, ast.Subscript):
            target = self.type(spelled.slice, source)
            pointer = ast.unparse(spelled.value)
            if pointer not in ("Pointer", "ConstPointer"):
                raise ValueError(
                    f"{ast.unparse(spelled)} is neither Pointer[T] nor ConstPointer[T]"
                )
            return f"{target} *" if pointer == "Pointer" else f"{target} const *"
        name = ast.unparse(spelled)
        if not self.package.is_public(name):
            raise ValueError(f"{name} is not one of the package's names for a C type")
        return self.name(name)

    def function(self, result: str, parameters: list[str], convention: str, source: Source) -> str:
        """Return the C type of a pointer to a function."""
        arguments = ", ".join(self.type(spelled, source) for spelled in parameters)
        return f"{self.type(result, source)} ({convention} *)({arguments or 'void'})"
