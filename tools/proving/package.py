"""The package under proof: every declaration in it, and what its names mean."""

from __future__ import annotations

import ast
import ctypes
import importlib
import pkgutil
import sys
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALIAS, STRUCTURE, CONSTANT, GUID = "alias", "structure", "constant", "GUID"
FUNCTION, CALLBACK, MACRO = "function", "callback", "macro"
KINDS = (FUNCTION, CALLBACK, STRUCTURE, ALIAS, CONSTANT, GUID, MACRO)

_CTYPES = (
    ctypes._SimpleCData,
    ctypes._Pointer,
    ctypes.Array,
    ctypes.Structure,
    ctypes.Union,
    ctypes._CFuncPtr,  # type: ignore[attr-defined]
)


@dataclass(frozen=True)
class Declaration:
    """One public name of the package that mirrors a name of Windows' headers."""

    kind: str
    name: str
    source: Source
    value: Any

    @property
    def where(self) -> str:
        """File and line."""
        return self.source.where(self.name)

    @property
    def spelled(self) -> ast.expr:
        """The right side of an alias."""
        binding = self.source.binding(self.name)
        assert isinstance(binding, ast.expr)
        return binding


class Package:
    """``pyiocp.winapi`` of one checkout, imported from there."""

    def __init__(self, path: Path) -> None:
        """Import the package from `path`, the folder that has the name ``pyiocp``."""
        sys.dont_write_bytecode = True  # a proof leaves nothing behind in what it reads
        # Only ring 1 is imported: the rings around it are none of the proof's business.
        outer = ModuleType(path.name)
        outer.__path__ = [str(path)]
        sys.modules[path.name] = outer
        winapi = importlib.import_module(f"{path.name}.winapi")
        self.path = path
        modules = [winapi.__name__]
        modules += [info.name for info in pkgutil.walk_packages(winapi.__path__, f"{modules[0]}.")]
        self.sources = [Source(importlib.import_module(module)) for module in modules]
        self._binding = importlib.import_module(f"{modules[0]}.binding")
        self._structure = importlib.import_module(f"{modules[0]}.structure")
        self._by_module = {source.name: source for source in self.sources}
        self.callback_flags = int(self._binding.Callback._flags_)
        self.problems: list[str] = []
        self.helpers: dict[str, str] = {}
        """Public functions that are the package's own, and where they are."""
        self.declarations = [found for source in self.sources for found in self._read(source)]
        self.exported = set(winapi.__all__)
        self._types = {
            declaration.name: declaration.source
            for declaration in self.declarations
            if declaration.kind in (ALIAS, STRUCTURE, CALLBACK)
        }

    def _read(self, source: Source) -> Iterator[Declaration]:
        """Yield the declarations of one module."""
        for name, value in list(source.namespace.items()):
            if name.startswith("_") or isinstance(value, type(sys)):
                continue
            if name not in source.bindings:
                if name not in source.imported:
                    self.problems.append(
                        f"{source.path}: {name} is made at run time; only what is spelled out"
                        " can be proven"
                    )
                continue
            kind = self._kind(source, name, value)
            if kind is not None:
                yield Declaration(kind, name, source, value)

    def _kind(self, source: Source, name: str, value: Any) -> str | None:
        """Tell what kind of declaration `value` is; None for machinery."""
        binding, structure = self._binding, self._structure
        where = f"{source.where(name)}: {name}"
        if isinstance(value, binding.Function):
            if binding.DECLARED.get(name) is not value:
                self.problems.append(f"{where} is not what binding.DECLARED has under this name")
            return FUNCTION
        if isinstance(value, type):
            if value in (structure.Structure, structure.Union, binding.Callback):
                return None
            if not issubclass(value, _CTYPES):
                return None
            if not isinstance(source.bindings[name][0], ast.ClassDef):
                return ALIAS
            if issubclass(value, binding.Callback):
                return CALLBACK
            if issubclass(value, (structure.Structure, structure.Union)):
                return STRUCTURE
            self.problems.append(f"{where} does not derive from winapi's Structure or Union")
            return None
        if isinstance(value, bool):
            return None
        if isinstance(value, (int, str, bytes)):
            return CONSTANT
        if isinstance(value, ctypes.Structure):
            return GUID
        if isinstance(value, FunctionType):
            if name != name.lower():
                return MACRO
            self.helpers[name] = source.where(name)
        return None

    def meaning(self, name: str, source: Source) -> Source | None:
        """Return the module that defines the type `name` as `source` uses it.

        None means one of ctypes' own types.
        """
        if name in source.bindings:
            return source
        if name in self._types:
            return self._types[name]
        for other in self.sources:
            if name in source.imported and name in other.bindings:
                return other
        if name.startswith("c_") and hasattr(ctypes, name):
            return None
        raise ValueError(f"{source.path}: {name} is not a type of this package")

    def leaf(self, spelled: ast.expr, source: Source) -> str:
        """Return the ctypes type that an alias comes down to; empty if it is not one."""
        while isinstance(spelled, ast.Name):
            meaning = self.meaning(spelled.id, source)
            if meaning is None:
                return spelled.id
            binding = meaning.binding(spelled.id)
            if not isinstance(binding, ast.expr):
                return ""
            spelled, source = binding, meaning
        return spelled.attr if isinstance(spelled, ast.Attribute) else ""

    def is_public(self, name: str) -> bool:
        """Tell whether `name` is a type that the headers are expected to have."""
        return name in self._types

    def conventions(self) -> tuple[str, str]:
        """Return the calling conventions of functions and of callbacks, as C spells them.

        They are read from binding.py as it behaves on Windows, whatever runs the proof:
        ctypes' flag for a function pointer is 0 for stdcall and 1 for cdecl.
        """
        source = self._by_module[self._binding.__name__]
        flags = []
        for name in ("_Pointer", "Callback"):
            node = source.bindings[name][0]
            spelled = [
                statement.value
                for statement in ast.walk(node)
                if isinstance(statement, ast.Assign)
                and ast.unparse(statement.targets[0]).rpartition(".")[2] == "_flags_"
            ]
            known = {"WINDOWS": True}
            for flag in ("_STDCALL", "_USE_LAST_ERROR"):
                binding = source.bindings[flag][0]
                assert isinstance(binding, ast.expr)
                known[flag] = eval(ast.unparse(binding), {}, known)
            flags.append(int(eval(ast.unparse(spelled[-1]), {}, known)))
        functions, callbacks = ("__cdecl" if flag & 1 else "__stdcall" for flag in flags)
        return functions, callbacks
