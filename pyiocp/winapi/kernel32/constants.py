"""Constants of kernel32's functions, by the parameter or result that they are for.

Not here: WAIT_TIMEOUT and WAIT_IO_COMPLETION, which are errors too (``errorcodes``).
"""

from __future__ import annotations

import ctypes

# What CreateFileW returns on failure, and CreateIoCompletionPort takes for "no file". It
# is (HANDLE)-1, in the form that ctypes gives a returned HANDLE: as wide as a pointer,
# unsigned.
INVALID_HANDLE_VALUE = ctypes.c_size_t(-1).value

# Waiting: a timeout in milliseconds, and what a wait returns.
INFINITE = 0xFFFFFFFF
WAIT_OBJECT_0 = 0x00000000
WAIT_ABANDONED = 0x00000080
WAIT_ABANDONED_0 = 0x00000080
WAIT_FAILED = 0xFFFFFFFF
MAXIMUM_WAIT_OBJECTS = 64

# SetFileCompletionNotificationModes: Flags.
FILE_SKIP_COMPLETION_PORT_ON_SUCCESS = 0x1
FILE_SKIP_SET_EVENT_ON_HANDLE = 0x2
