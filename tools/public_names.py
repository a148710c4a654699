#!/usr/bin/env python3
"""Write tests/docs/public_names.txt: every public name of pyiocp, with its signature.

    python3 tools/public_names.py

A test compares that file with the code. So each change of what users can import and call shows as
a difference, and the CHANGELOG names it.

Signatures are read from the source, as they are written there: they are then the same on every
system and in every version of Python. A class shows what users get at it, wherever it is defined:
methods, properties, attributes of the class and of its instances. Moving one to a base class that
is not public changes nothing here. What comes from a public base is in the entry of that base.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyiocp
import pyiocp.aio
import pyiocp.models

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "tests" / "docs" / "public_names.txt"

PROTOCOLS = {
    f"__{name}__"
    for name in (
        *("enter", "exit", "aenter", "aexit", "iter", "next", "aiter", "anext", "await"),
        *("len", "getitem", "setitem", "contains", "call", "bool", "int", "index", "bytes"),
    )
}
"""Methods with underscores that users call, by way of the language."""

_NOT_SAID = {"object", "BaseException", "Exception", "Generic", "Protocol", "ReprEnum"}
"""Base classes that say nothing of a class."""

PROPERTIES = {"property", "cached_property"}
SHOWN_DECORATORS = {"staticmethod", "classmethod", "contextmanager", "asynccontextmanager"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


Member = tuple[str, ...]
"""The lines that say what there is under one name: several if a method is overloaded."""


@cache
def tree_of(file: str) -> ast.Module:
    """Return a file of the package, parsed."""
    return ast.parse(Path(file).read_text(encoding="utf-8"))


@cache
def definitions() -> dict[str, list[tuple[str, ast.ClassDef | Function]]]:
    """Return the classes and functions of the package: by name, with the module of each."""
    found: dict[str, list[tuple[str, ast.ClassDef | Function]]] = {}
    package = Path(pyiocp.__file__).parent
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for node in statements(tree_of(str(path))):
            if isinstance(node, (ast.ClassDef, Function)):
                found.setdefault(node.name, []).append((module, node))
    return found


def statements(node: ast.Module | ast.ClassDef) -> Iterator[ast.stmt]:
    """Yield the statements of a body, also those under an ``if``."""
    waiting = list(reversed(node.body))
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If):
            waiting += reversed(statement.body + statement.orelse)
        else:
            yield statement


def module_of(thing: Any) -> str:
    """Return where a class or function is defined, whatever its ``__module__`` says."""
    members = vars(thing).values() if inspect.isclass(thing) else [thing]
    for member in members:
        plain = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
        plain = inspect.unwrap(plain) if callable(plain) else plain
        if inspect.isfunction(plain) and plain.__qualname__.startswith(thing.__qualname__):
            return str(plain.__globals__["__name__"])
    return str(thing.__module__)


def nodes_of(thing: Any) -> list[ast.ClassDef | Function]:
    """Return the definition of a class or function in the source; more than one if overloaded."""
    found = definitions().get(thing.__name__, [])
    if len({module for module, _ in found}) > 1:
        found = [(module, node) for module, node in found if module == module_of(thing)]
    if not found:
        raise LookupError(f"{thing!r} is defined nowhere in pyiocp/")
    return [node for _, node in found]


def is_ours(owner: type) -> bool:
    """Tell whether a class is one of the package."""
    return owner.__module__.partition(".")[0] == "pyiocp"


def is_shown(name: str) -> bool:
    """Tell whether users are to use a member of this name."""
    return not name.startswith("_") or name in PROTOCOLS


def decorators(node: Function) -> list[str]:
    """Return the names of a function's decorators: ``setter`` of ``@state.setter``."""
    plain = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return [ast.unparse(d).rpartition(".")[2] for d in plain]


def signature(node: Function, *, method: bool) -> str:
    """Return a function's parameters as they are written, without ``self``."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    shown = [parameter(a, d) for a, d in zip(positional, defaults, strict=True)]
    if given.posonlyargs:
        shown.insert(len(given.posonlyargs), "/")
    if method and "staticmethod" not in decorators(node) and positional:
        del shown[0]
        if shown[:1] == ["/"]:
            del shown[0]
    if given.vararg:
        shown.append(f"*{parameter(given.vararg, None)}")
    elif given.kwonlyargs:
        shown.append("*")
    keywords = zip(given.kwonlyargs, given.kw_defaults, strict=True)
    shown += [parameter(a, d) for a, d in keywords]
    if given.kwarg:
        shown.append(f"**{parameter(given.kwarg, None)}")
    return f"({', '.join(shown)})"


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """Return one parameter: ``timeout: float | None = None``."""
    text = argument.arg
    if argument.annotation is not None:
        text += f": {annotation(argument.annotation)}"
    if default is None:
        return text
    return f"{text} = {source(default)}" if argument.annotation else f"{text}={source(default)}"


def annotation(node: ast.expr) -> str:
    """Return a type as it is written, without quotes around it."""
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text else ast.unparse(node)  # type: ignore[attr-defined]


def source(node: ast.expr) -> str:
    """Return a value as it is written."""
    return ast.unparse(node)


def returned(node: Function) -> str:
    """Return what follows the parameters."""
    return f" -> {annotation(node.returns)}" if node.returns else ""


def function_lines(name: str, nodes: list[Function], *, method: bool) -> tuple[str, ...]:
    """Return a line for a function, or one for each overload of it."""
    overloads = [node for node in nodes if "overload" in decorators(node)]
    lines = []
    for node in overloads or nodes[-1:]:
        prefix = "".join(f"@{d} " for d in decorators(node) if d in SHOWN_DECORATORS)
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        lines.append(f"{prefix}{word} {name}{signature(node, method=method)}{returned(node)}")
    return tuple(lines)


def members_of_node(node: ast.ClassDef) -> dict[str, Member]:
    """Return what one class itself defines under public names."""
    functions: dict[str, list[Function]] = {}
    lines: dict[str, Member] = {}
    for statement in statements(node):
        if isinstance(statement, Function):
            functions.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            lines |= attribute_lines(statement)
    for name, found in instance_attributes(node).items():
        lines.setdefault(name, found)
    for name, nodes in functions.items():
        first = decorators(nodes[0])
        if PROPERTIES & set(first):
            settable = any("setter" in decorators(other) for other in nodes)
            lines[name] = (f"property {name}{returned(nodes[0])}{', settable' * settable}",)
        else:
            lines[name] = function_lines(name, nodes, method=True)
    return {name: text for name, text in lines.items() if is_shown(name)}


def instance_attributes(node: ast.ClassDef) -> dict[str, Member]:
    """Return the attributes that the methods of a class give its instances."""
    found: dict[str, Member] = {}
    for method in (s for s in statements(node) if isinstance(s, Function)):
        if not method.args.args or "staticmethod" in decorators(method):
            continue
        for inner in ast.walk(method):
            if isinstance(inner, (ast.Assign, ast.AnnAssign)):
                for name, text in attribute_lines(inner, method).items():
                    # Several statements may set it: keep the first one that tells its type.
                    if name not in found or (":" in text[0] and ":" not in found[name][0]):
                        found[name] = text
    return found


def attribute_lines(
    node: ast.Assign | ast.AnnAssign, method: Function | None = None
) -> dict[str, Member]:
    """Return the line of each attribute that a statement sets, by its name.

    method: the method that has the statement; without one, the class itself has it.
    """
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    lines: dict[str, Member] = {}
    for target in targets:
        for one in target.elts if isinstance(target, ast.Tuple) else [target]:
            name = attribute_name(one, method)
            if not name:
                continue
            kind = annotation(node.annotation) if isinstance(node, ast.AnnAssign) else ""
            if method and not kind and one is target:
                kind = type_of(node.value, method)
            value = f" = {source(node.value)}" if not method and node.value is not None else ""
            lines[name] = (f"{name}{': ' * bool(kind)}{kind}{value}",)
    return lines


def attribute_name(target: ast.expr, method: Function | None) -> str:
    """Return the name of the attribute that is assigned to, or nothing if it is none of ours."""
    if method is None:
        return target.id if isinstance(target, ast.Name) else ""
    is_own = (
        isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == method.args.args[0].arg
    )
    return target.attr if is_own and isinstance(target, ast.Attribute) else ""


def type_of(value: ast.expr | None, method: Function) -> str:
    """Return the type of what is assigned, if it is a parameter of the method or a plain value."""
    if isinstance(value, ast.Constant):
        return type(value.value).__name__ if value.value is not None else ""
    if isinstance(value, ast.Name):
        given = [*method.args.posonlyargs, *method.args.args, *method.args.kwonlyargs]
        for one in given:
            if one.arg == value.id and one.annotation is not None:
                return annotation(one.annotation)
    return ""


def members(owner: type) -> dict[str, Member]:
    """Return what a class has under public names, its own and what it has from bases of ours."""
    found: dict[str, Member] = {}
    for kind in owner.__mro__:
        if is_ours(kind):
            for node in nodes_of(kind):
                if isinstance(node, ast.ClassDef):
                    for name, member in members_of_node(node).items():
                        found.setdefault(name, member)
    return found


def constructor(owner: type) -> str:
    """Return what a class is called with; nothing if that is its base's, which is not ours."""
    for kind in owner.__mro__:
        for node in nodes_of(kind) if is_ours(kind) else ():
            if not isinstance(node, ast.ClassDef):
                continue
            inner = [s for s in statements(node) if isinstance(s, Function)]
            made = [s for s in inner if s.name in ("__init__", "__new__")]
            if made:
                return signature(made[-1], method=True)
            if "dataclass" in ast.unparse(ast.Tuple(node.decorator_list)) or any(
                ast.unparse(base).endswith("NamedTuple") for base in node.bases
            ):
                fields = [s for s in node.body if isinstance(s, ast.AnnAssign)]
                return f"({', '.join(field(s) for s in fields)})"
    return ""


def field(node: ast.AnnAssign) -> str:
    """Return a field of a class whose constructor is made from its fields."""
    default = f" = {source(node.value)}" if node.value is not None else ""
    return f"{ast.unparse(node.target)}: {annotation(node.annotation)}{default}"


def bases(owner: type, public: set[type]) -> list[str]:
    """Return the names of the base classes that users know."""
    return [
        kind.__name__
        for kind in owner.__mro__[1:]
        if (kind in public if is_ours(kind) else kind.__name__ not in _NOT_SAID)
    ]


def entry(name: str, thing: Any, public: set[type]) -> list[str]:
    """Return the lines of one public name."""
    if inspect.isclass(thing) and is_ours(thing):
        given: dict[str, Member] = {}
        for kind in thing.__mro__[1:]:
            if kind in public:
                for member_name, member in members(kind).items():
                    given.setdefault(member_name, member)
        known = bases(thing, public)
        lines = [f"class {name}{constructor(thing)}{' is ' * bool(known)}{', '.join(known)}"]
        for member_name, member in sorted(members(thing).items()):
            if given.get(member_name) != member:
                lines += [f"    {line}" for line in member]
        return lines
    if inspect.isfunction(thing):
        nodes = [node for node in nodes_of(thing) if isinstance(node, Function)]
        return list(function_lines(name, nodes, method=False))
    return [f"constant {name}: {type(thing).__name__}"]


def public_names(package: ModuleType) -> dict[str, Any]:
    """Return what can be imported from a package, but for its modules."""
    names = sorted({*dir(package), *getattr(package, "__all__", ())})
    found = {name: getattr(package, name) for name in names if not name.startswith("_")}
    if hasattr(package, "__version__"):
        found["__version__"] = package.__version__
    # `annotations` is what `from __future__ import annotations` leaves behind.
    return {
        name: thing
        for name, thing in found.items()
        if not inspect.ismodule(thing) and name != "annotations"
    }


def names_of_a_port() -> list[str]:
    """Return what ``dir()`` of a port shows to users: no port is made for it."""
    inherited = {name for name in dir(pyiocp.CompletionPort) if not name.startswith("_")}
    own = {name for name in members(pyiocp.CompletionPort) if not name.startswith("_")}
    return sorted(inherited | own)


def text() -> str:
    """Return what the file has to say."""
    lines = ["Every public name, with its signature: `python3 tools/public_names.py` writes this."]
    packages = (pyiocp, pyiocp.models, pyiocp.aio)
    everything = [thing for package in packages for thing in public_names(package).values()]
    public = {thing for thing in everything if inspect.isclass(thing)}
    for package in packages:
        lines += ["", f"[{package.__name__}]", ""]
        for name, thing in public_names(package).items():
            lines += entry(name, thing, public)
        if hasattr(package, "__all__"):
            lines += ["", f"[from {package.__name__} import *]", "", *sorted(package.__all__)]
    names = names_of_a_port()
    lines += ["", f"[dir(CompletionPort()): {len(names)} names]", "", *names]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8", newline="\n")
    print(f"{FILE.relative_to(ROOT).as_posix()}: {text().count(chr(10))} lines")


if __name__ == "__main__":
    main()
