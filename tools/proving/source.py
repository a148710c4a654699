"""One module of the package under proof: its objects, and its text.

Both are needed. ctypes keeps only a width (``DWORD``, ``ULONG`` and ``UINT`` are one and
the same object at run time, and off Windows ``ULONG_PTR`` and ``ULONGLONG`` are too), so
the types of fields and aliases are read as spelled. Values are read from the imported
module, because a constant may be computed.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType

SIZE_OF_POINTER = re.compile(
    r"(?:ctypes\.)?sizeof\((?:PVOID|c_void_p|HANDLE|ctypes\.c_void_p)\) == ([48])"
)


class SpelledField(NamedTuple):
    """One field, as a declaration spells it."""

    name: str
    type: ast.expr
    bits: int
    """How many bits it has; 0 for one that is no bit-field."""


Binding = ast.expr | ast.ClassDef | ast.FunctionDef
"""What a module binds a name to: the right side of an assignment, a class, a function."""


class Source:
    """A module, with every name that its own text binds."""

    def __init__(self, module: ModuleType) -> None:
        self.name = module.__name__
        self.path = Path(str(module.__file__))
        self.namespace: dict[str, Any] = vars(module)
        self.bindings: dict[str, list[Binding]] = {}
        self.imported: set[str] = set()
        self._fields_assigned_later: dict[str, ast.expr] = {}
        self._package = str(module.__package__)
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        self._scan(tree.body)

    def _scan(self, body: Iterable[ast.stmt]) -> None:
        """Collect what `body` binds, in the branches of conditions as well."""
        for node in body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._assigned(target, node.value)
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                self._assigned(node.target, node.value)
            elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                self.bindings.setdefault(node.name, []).append(node)
            elif isinstance(node, (ast.If, ast.Try)):
                self._scan(node.body)
                self._scan(node.orelse)
            elif isinstance(node, ast.Import):
                names = (alias.asname or alias.name.partition(".")[0] for alias in node.names)
                self.imported.update(names)
            elif isinstance(node, ast.ImportFrom):
                self._imported_from(node)

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.bindings.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Attribute) and target.attr == "_fields_":
            # A structure that points to itself gets its fields after its class.
            self._fields_assigned_later[ast.unparse(target.value)] = value

    def _imported_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self.imported.add(alias.asname or alias.name)
                continue
            relative = "." * node.level + (node.module or "")
            origin = sys.modules[importlib.util.resolve_name(relative, self._package)]
            self.imported.update(vars(origin))

    def binding(self, name: str) -> Binding:
        """Return what `name` is bound to; of several bindings, the one that took effect."""
        bindings = self.bindings[name]
        if isinstance(bindings[0], ast.IfExp) and isinstance(self.namespace[name], type):
            bindings = [bindings[0].body, bindings[0].orelse]
        for binding in bindings:
            if len(bindings) == 1 or not isinstance(binding, ast.expr):
                return binding
            if self.value(binding) is self.namespace[name]:
                return binding
        raise ValueError(f"{self.name}: cannot tell which binding of {name} took effect")

    def value(self, expression: ast.expr) -> Any:
        """Return the value of `expression` in this module."""
        return eval(ast.unparse(expression), self.namespace)

    def fields(self, structure: str, pointer_size: int) -> list[SpelledField]:
        """Return the fields of a class of this module, as spelled.

        Where Windows orders them by the width of pointers, the declaration reads
        ``(…) if sizeof(PVOID) == 8 else (…)``.
        """
        node = self.bindings[structure][0]
        spelled = self._fields_assigned_later.get(structure)
        if spelled is None and isinstance(node, ast.ClassDef):
            spelled = class_attribute(node, "_fields_")
        if spelled is None:
            raise ValueError(f"{structure} has no _fields_")
        return list(self._fields_in(spelled, pointer_size))

    def _fields_in(self, spelled: ast.expr, pointer_size: int) -> Iterator[SpelledField]:
        """Yield the fields of a tuple, and of what it unpacks or chooses from."""
        if isinstance(spelled, ast.Name):
            binding = self.binding(spelled.id)
            if isinstance(binding, ast.expr):
                spelled = binding
        if isinstance(spelled, ast.IfExp):
            asked = SIZE_OF_POINTER.fullmatch(ast.unparse(spelled.test))
            if asked is None:
                raise ValueError(f"cannot tell when {ast.unparse(spelled.test)}")
            chosen = spelled.body if int(asked[1]) == pointer_size else spelled.orelse
            yield from self._fields_in(chosen, pointer_size)
            return
        if not isinstance(spelled, (ast.Tuple, ast.List)):
            raise ValueError(f"{ast.unparse(spelled)} is not a tuple of fields")
        for field in spelled.elts:
            if isinstance(field, ast.Starred):
                yield from self._fields_in(field.value, pointer_size)
            elif isinstance(field, (ast.Tuple, ast.List)) and len(field.elts) in (2, 3):
                bits = self.value(field.elts[2]) if len(field.elts) == 3 else 0
                yield SpelledField(str(self.value(field.elts[0])), field.elts[1], int(bits))
            else:
                raise ValueError(f"{ast.unparse(field)} is not a name and a type")

    def where(self, name: str) -> str:
        """Return file and line of a name's binding, as editors understand it."""
        return f"{self.path}:{self.bindings[name][-1].lineno}"


def class_attribute(node: ast.ClassDef, name: str) -> ast.expr | None:
    """Return what the body of a class assigns to `name`; the last one counts."""
    found = None
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            if name in targets:
                found = statement.value
        elif isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == name:
            found = statement.value or found
    return found
