"""What the headers have: asked before anything is proven."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import package as kinds
from .different import PADDING
from .layout import Layouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .compiler import Compiler
    from .package import Package


@dataclass
class Contents:
    """The headers' contents, as far as a package declares them."""

    present: set[str] = field(default_factory=set)
    """The names that they have."""
    tags: dict[str, str] = field(default_factory=dict)
    """The spelling of those that only exist as a tag: ``struct sockaddr``."""
    opaque: set[str] = field(default_factory=set)
    """Pointers whose target they hide, HANDLEs of all kinds among them."""
    members: set[str] = field(default_factory=set)
    """Parts of structures that they give a name: ``IN_ADDR.S_un``."""
    enumerations: set[str] = field(default_factory=set)
    """Types whose values are enumerated, which make an ``int`` for Microsoft's compiler."""


def enumerations(text: str) -> Iterator[str]:
    """Yield the names of the types that `text`, preprocessed C, makes with ``enum``."""
    for match in re.finditer(r"\btypedef\s+enum\b[^{};]*\{[^}]*\}([^;]*);", text):
        yield from re.findall(r"\w+", match[1])


def look_up(package: Package, compiler: Compiler, listed: Iterable[str]) -> Contents:
    """Ask for every name that `package` declares and for those in `listed`."""
    names, pointers, parts = {*listed, *package.helpers}, [], []
    layouts = Layouts(package, 8)
    for declaration in package.declarations:
        names.add(declaration.name)
        if declaration.kind == kinds.FUNCTION:
            names.add(f"LPFN_{declaration.name.upper()}")
        if (
            declaration.kind == kinds.ALIAS
            and package.leaf(declaration.spelled, declaration.source) == "c_void_p"
        ):
            pointers.append(declaration.name)
        if declaration.kind == kinds.STRUCTURE:
            parts += [(declaration.name, part) for part in PADDING.get(declaration.name, ())]
            with suppress(ValueError):  # the judge will say why it cannot be read
                for part in layouts.unnamed(declaration.name, declaration.source):
                    parts.append((declaration.name, part))
    # The compiler is slow to say no (it looks for names that are spelled alike), so it is
    # not asked about a name that does not even occur.
    text = compiler.preprocessed()
    names &= set(re.findall(r"\w+", text))
    spellings = [(name, tag) for name in sorted(names) for tag in ("", "struct ", "union ")]

    questions: list[str] = []
    for name, tag in spellings:
        # A macro exists whatever it stands for; WSAID_ACCEPTEX is no expression.
        exists = f"enum {{ proof_{len(questions)} = sizeof(__typeof__({tag}{name})) }};"
        questions += [f"#ifndef {name}", exists, "#endif"]
    for name in pointers:
        # HWND points to a structure whose only member says that it is unused.
        for target in (f"*({name})0", f"(({name})0)->unused"):
            questions.append(f"enum {{ proof_{len(questions)} = sizeof({target}) }};")
    for structure, part in parts:
        member = f"(({structure} *)0)->{part}"
        questions.append(f"enum {{ proof_{len(questions)} = sizeof({member}) }};")
    refused = compiler.ask(questions).errors.keys()
    answers = iter([index not in refused for index in range(len(questions))])

    contents = Contents(enumerations=set(enumerations(text)))
    for name, tag in spellings:
        _, exists_so, _ = next(answers), next(answers), next(answers)
        if exists_so and name not in contents.present:
            contents.present.add(name)
            if tag:
                contents.tags[name] = f"{tag}{name}"
    for name in pointers:
        target_known, is_handle = next(answers), next(answers)
        if is_handle or not target_known:
            contents.opaque.add(name)
    for structure, part in parts:
        if next(answers):
            contents.members.add(f"{structure}.{part}")
    return contents
