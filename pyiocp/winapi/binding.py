"""Turns a typed Python signature into the Win32 function of that name.

A declaration reads::

    @kernel32(since="Windows XP")
    def CancelIo(hFile: HANDLE) -> BOOL:
        '''Ask for …'''

The signature is the only place where the types stand. ctypes' ``argtypes`` and
``restype`` come from it, ``help()`` shows it, and the proof (``tools/proof.py``) writes
it out as C and has a compiler compare it with the Windows SDK's headers.

Every function is made with ``use_last_error=True``: ctypes saves the thread's error
code before anything else can overwrite it, and :func:`last_error` reads that copy, for
Winsock's functions too (``WSAGetLastError`` reads the same slot). Calling
``GetLastError`` afterwards would be a bug: the interpreter itself makes Win32 calls in
between.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

WINDOWS = sys.platform == "win32"

#: Every declared function by its name, in the order of declaration.
DECLARED: dict[str, Function[Any]] = {}


class FunctionUnavailableError(NotImplementedError):
    """A Win32 function was called where it does not exist.

    Off Windows that is every function; on Windows, one that this version lacks. The
    message names the function and the first Windows version that has it.
    """


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a decorated signature says, before anything is looked up in a DLL."""

    name: str
    library: str
    since: str
    parameters: tuple[tuple[str, str], ...]
    """Name and annotation, as spelled in the source, of each parameter."""
    result: str
    """The annotation of the result, as spelled; ``"None"`` for C's ``void``."""
    namespace: dict[str, Any]
    """Where the annotations are looked up: the globals of the declaring module."""
    doc: str

    @classmethod
    def of(cls, signature: Callable[..., Any], library: str, since: str) -> Declaration:
        """Read the declaration off a Python function that has annotations and no body."""
        annotations = dict(signature.__annotations__)
        result = annotations.pop("return")
        code = signature.__code__
        names = code.co_varnames[: code.co_argcount]
        if tuple(annotations) != names:
            raise TypeError(f"{signature.__name__}: every parameter needs a type")
        return cls(
            name=signature.__name__,
            library=library,
            since=since,
            parameters=tuple(annotations.items()),
            result=result,
            namespace=signature.__globals__,
            doc=signature.__doc__ or "",
        )

    @property
    def argtypes(self) -> tuple[Any, ...]:
        """The parameters' ctypes types."""
        return tuple(eval(spelled, self.namespace) for _, spelled in self.parameters)

    @property
    def restype(self) -> Any:
        """The result's ctypes type, or None."""
        return eval(self.result, self.namespace)

    @property
    def help(self) -> str:
        """The docstring with the signature above it, as ``help()`` shows a function."""
        return f"{self}\n\n{inspect.cleandoc(self.doc)}"

    def __str__(self) -> str:
        parameters = ", ".join(f"{name}: {spelled}" for name, spelled in self.parameters)
        return f"{self.name}({parameters}) -> {self.result}"


class Function(Generic[R]):
    """A declared Win32 function; call it with the arguments of its declaration.

    On Windows an instance is really a ctypes function pointer (:class:`_Pointer`), so
    that a call costs what a ctypes call costs. This class is its public face, and
    stands alone where the function does not exist: a call then raises
    :class:`FunctionUnavailableError`.

    ``declaration`` tells the parameters, the DLL and the first Windows version.
    """

    declaration: Declaration

    if TYPE_CHECKING:

        def __call__(self, *arguments: Any) -> R: ...

    def __repr__(self) -> str:
        return f"<{self.declaration} in {self.declaration.library}>"


class _Missing(Function[R]):
    """A function that this system lacks."""

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration
        self.__doc__ = declaration.help
        self.__name__ = declaration.name

    def __call__(self, *arguments: Any) -> R:
        declaration = self.declaration
        if WINDOWS:
            reason = f"this Windows has no {declaration.name} in {declaration.library}"
            remedy = f"it came with {declaration.since}"
        else:
            reason = f"{declaration.name} is a function of Windows, and this is {sys.platform}"
            remedy = "run the program with Python for Windows"
        raise FunctionUnavailableError(f"{reason}: {remedy}")


_STDCALL = 0x0 if WINDOWS else 0x1  # ctypes.FUNCFLAG_STDCALL, _FUNCFLAG_CDECL
_USE_LAST_ERROR = 0x10  # ctypes._FUNCFLAG_USE_LASTERROR
_KEEP_GIL = 0x04  # ctypes._FUNCFLAG_PYTHONAPI


class _Pointer(ctypes._CFuncPtr, Function[R]):  # type: ignore[name-defined, misc]
    """A function pointer with the types of its declaration."""

    _flags_ = _STDCALL | _USE_LAST_ERROR
    _restype_ = ctypes.c_int

    __repr__ = Function.__repr__


class _Untyped(ctypes._CFuncPtr):  # type: ignore[name-defined, misc]
    """The same function without types: the caller passes ready-made ctypes objects."""

    _flags_ = _STDCALL | _USE_LAST_ERROR
    _restype_ = ctypes.c_int


class _UntypedBrief(ctypes._CFuncPtr):  # type: ignore[name-defined, misc]
    """The same again, called with the GIL held."""

    _flags_ = _STDCALL | _USE_LAST_ERROR | _KEEP_GIL
    _restype_ = ctypes.c_int


def typed_pointer(declaration: Declaration, where: Any) -> Function[Any]:
    """Bind `declaration` to `where`: an address, or a pair of a name and a DLL."""
    pointer = cast("Any", _Pointer(where))
    pointer.argtypes = declaration.argtypes
    pointer.restype = declaration.restype
    pointer.declaration = declaration
    pointer.__name__ = declaration.name
    pointer.__doc__ = declaration.help
    return cast("Function[Any]", pointer)


def untyped(function: Function[Any], *, keeps_gil: bool = False) -> Callable[..., int]:
    """Return `function` without argument conversion, for prebuilt argument tuples.

    A call whose arguments are ctypes objects made beforehand costs 303 ns against 474 ns
    through ``argtypes`` (CPython 3.13). The result is a C ``int``. Nothing checks
    the arguments: this is for code that builds them once and keeps them.

    keeps_gil: let no other Python thread run meanwhile, on builds with a GIL; for functions
        that return at once. That saves 140 ns. More than that, who lets go of the GIL where
        another thread computes gets it back after ``sys.getswitchinterval()``, which is 5 ms.
    """
    if isinstance(function, _Missing):
        return function
    if not isinstance(function, _Pointer):
        raise TypeError(f"{function!r} has a pointer per socket: use untyped(function.on(socket))")
    address = ctypes.cast(cast("Any", function), ctypes.c_void_p).value
    return cast("Callable[..., int]", (_UntypedBrief if keeps_gil else _Untyped)(address))


class Callback(ctypes._CFuncPtr):  # type: ignore[name-defined, misc]
    """Base of the function types that Windows calls back; made from a signature as well.

    A subclass declares it as a static method named ``signature``, and is called with the
    Python function that Windows shall call. The caller keeps the instance alive for as
    long as Windows may call it. Where a function takes a callback, None is NULL.
    """

    _flags_ = _STDCALL
    _restype_ = None

    declaration: Declaration

    def __init_subclass__(cls) -> None:
        signature = cast("Any", cls).signature
        signature.__name__ = cls.__name__
        signature.__doc__ = cls.__doc__
        cls.declaration = Declaration.of(signature, "", "")
        # The metaclass reads these three from the class itself, not from its bases.
        cls._flags_ = _STDCALL
        cls._argtypes_ = cls.declaration.argtypes
        cls._restype_ = cls.declaration.restype

    @classmethod
    def from_param(cls, value: Any) -> Any:
        """Convert an argument: None to NULL, which ctypes does for all other pointers."""
        return None if value is None else cast("Any", type(cls)).from_param(cls, value)


class Library:
    """A DLL; called with ``since``, the decorator for declarations of its functions.

    The DLL is loaded by its bare name from the system directory only, so that no file
    beside the program or in the current directory can stand in for it.
    """

    _SEARCH_SYSTEM32 = 0x00000800  # LOAD_LIBRARY_SEARCH_SYSTEM32

    def __init__(self, name: str) -> None:
        self.name = name
        self._dll = None
        if WINDOWS:
            self._dll = ctypes.WinDLL(name, use_last_error=True, winmode=self._SEARCH_SYSTEM32)

    def __call__(self, *, since: str) -> _Declare:
        """Return a decorator; `since` is the first Windows version with the function."""
        return _Declare(self, since)

    def find(self, declaration: Declaration) -> Function[Any]:
        """Look the function up; where it is missing, return one whose call says so."""
        if self._dll is not None:
            try:
                return typed_pointer(declaration, (declaration.name, self._dll))
            except AttributeError:
                pass
        return _Missing(declaration)


class _Declare:
    """The decorator. Its overloads tell a type checker what a call returns."""

    def __init__(self, library: Library, since: str) -> None:
        self._library = library
        self._since = since

    @overload
    def __call__(self, signature: Callable[..., None]) -> Function[None]: ...
    @overload
    def __call__(self, signature: Callable[..., ctypes.c_void_p]) -> Function[int | None]: ...
    @overload
    def __call__(self, signature: Callable[..., Any]) -> Function[int]: ...
    def __call__(self, signature: Callable[..., Any]) -> Function[Any]:
        declaration = Declaration.of(signature, self._library.name, self._since)
        function = self._library.find(declaration)
        DECLARED[declaration.name] = function
        return function


def available(name: str) -> bool:
    """Tell whether this system has the Win32 function `name`.

    An extension function is asked of a new IPv4 socket: the answer holds for ordinary
    sockets, and another provider's may have it or not.

    Raises :class:`KeyError` for a name that pyiocp does not declare.
    """
    function = DECLARED[name]
    offered: Callable[[], bool] | None = getattr(function, "offered", None)
    return offered() if offered is not None else not isinstance(function, _Missing)


def last_error() -> int:
    """Return the error code of this thread's last call of a declared function.

    It is the copy that ctypes took as the call returned, so it is exact whatever the
    interpreter did since. It is not cleared by a success: ask only after a failure.

    Source: https://learn.microsoft.com/windows/win32/api/errhandlingapi/nf-errhandlingapi-getlasterror
    """
    if not WINDOWS:
        raise FunctionUnavailableError("last_error() is of Windows: run Python for Windows")
    return ctypes.get_last_error()
