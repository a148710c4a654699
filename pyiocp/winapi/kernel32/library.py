"""kernel32.dll, once."""

from ..binding import Library

kernel32 = Library("kernel32.dll")
