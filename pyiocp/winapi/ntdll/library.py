"""ntdll.dll, once."""

from ..binding import Library

ntdll = Library("ntdll.dll")
