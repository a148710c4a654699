"""Windows I/O completion ports for Python, in pure ctypes.

Start from `CompletionPort`. ``pyiocp.winapi`` has the Win32 functions themselves.

``__all__`` has what a program types; the other names are of objects that it receives and errors
that it catches.
"""

# ruff: noqa: I001, the order is that in which to read about them

# The port
from .port import CompletionPort as CompletionPort
from .engine.kernel import Kernel as Kernel

# Operations, and what they end in
from .engine.operation import Operation as Operation
from .engine.completion import Completion as Completion

# Sockets
from .handles.sockets.stream import Stream as Stream
from .handles.sockets.datagram import Datagram as Datagram
from .handles.sockets.datagram_receive import DatagramCompletion as DatagramCompletion
from .handles.sockets.control_data import (
    ControlData as ControlData,
    ControlMessage as ControlMessage,
    Ecn as Ecn,
)
from .handles.sockets.transmit import FilePart as FilePart

# Files
from .handles.files.file import File as File
from .handles.files.bulk_file import (
    copy_file as copy_file,
    hash_file as hash_file,
    read_blocks as read_blocks,
)

# Pipes
from .handles.pipes.pipe import Pipe as Pipe
from .handles.pipes.pipe_server import PipeServer as PipeServer
from .handles.pipes.pipe_connect import PipeConnect as PipeConnect
from .handles.pipes.pipe_operations import PipeCompletion as PipeCompletion

# What is waited for
from .handles.waits.waitable import Waitable as Waitable
from .handles.waits.process import (
    Process as Process,
    ProcessCompletion as ProcessCompletion,
)
from .handles.waits.event import Event as Event
from .handles.waits.timer import (
    Timer as Timer,
    TimerCompletion as TimerCompletion,
)
from .handles.waits.job import Job as Job
from .handles.waits.job_message import (
    JobEvent as JobEvent,
    JobMessage as JobMessage,
)

# Directories
from .handles.directories.directory import (
    Directory as Directory,
    DirectoryCompletion as DirectoryCompletion,
    NotifyFilter as NotifyFilter,
)
from .handles.directories.change import (
    Change as Change,
    ChangeAction as ChangeAction,
    Overflow as Overflow,
)

# Memory
from .memory.buffer_pool import (
    BufferPool as BufferPool,
    PoolExhaustedError as PoolExhaustedError,
)
from .observing.debugging import BufferRuleError as BufferRuleError

# Sessions over TCP
from .servers.tcp.session import Session as Session
from .servers.session_state import SessionState as SessionState
from .servers.tcp.session_statistics import SessionStatistics as SessionStatistics
from .servers.tcp.sending import SendQueueOverflowError as SendQueueOverflowError
from .servers.tcp.sending import SendStalledError as SendStalledError
from .servers.tcp.listener import Listener as Listener
from .servers.admission import Limits as Limits
from .servers.broadcast_result import BroadcastResult as BroadcastResult
from .servers.clients.connection_pool import ConnectionPool as ConnectionPool
from .servers.clients.reconnecting import ReconnectingClient as ReconnectingClient
from .servers.clients.backoff import Backoff as Backoff

# Messages within a stream
from .servers.framing.framed_session import FramedSession as FramedSession
from .servers.framing.framing import (
    Framing as Framing,
    LengthPrefixed as LengthPrefixed,
    Delimited as Delimited,
    FixedSize as FixedSize,
)
from .servers.framing.frame_parser import (
    FrameParser as FrameParser,
    FramingError as FramingError,
    FrameTooLongError as FrameTooLongError,
    FrameTruncatedError as FrameTruncatedError,
)

# TLS
from .servers.tls.tls import (
    TlsInfo as TlsInfo,
    TlsError as TlsError,
    TlsHandshakeError as TlsHandshakeError,
    TlsTruncatedError as TlsTruncatedError,
)

# Sessions over UDP
from .servers.udp.datagram_session import DatagramSession as DatagramSession
from .servers.udp.datagram_server import DatagramServer as DatagramServer
from .servers.udp.address_validation import AddressValidation as AddressValidation
from .servers.udp.datagram_statistics import (
    DatagramSessionStatistics as DatagramSessionStatistics,
    DatagramServerStatistics as DatagramServerStatistics,
)

# Other threads
from .servers.blocking_pool import Work as Work

# Looking on
from .observing.statistics import Statistics as Statistics
from .observing.trace import (
    Trace as Trace,
    TraceEvent as TraceEvent,
)
from .observing.recording import Recording as Recording
from .servers.monitor import Monitor as Monitor
from .observing.draining import (
    Completions as Completions,
    drain as drain,
)
from .explanation import (
    explain as explain,
    Explanation as Explanation,
)

# Errors
from .errors import (
    IocpError as IocpError,
    AccessDeniedError as AccessDeniedError,
    AddressUnavailableError as AddressUnavailableError,
    AlreadyAssociatedError as AlreadyAssociatedError,
    ConnectRefusedError as ConnectRefusedError,
    ConnectionLostError as ConnectionLostError,
    HandleClosedError as HandleClosedError,
    HandleInvalidError as HandleInvalidError,
    MessageTruncatedError as MessageTruncatedError,
    NetworkTimeoutError as NetworkTimeoutError,
    NotConnectedError as NotConnectedError,
    NotOverlappedError as NotOverlappedError,
    OperationCancelledError as OperationCancelledError,
    PathExistsError as PathExistsError,
    PathNotFoundError as PathNotFoundError,
    PeerResetError as PeerResetError,
    PipeBusyError as PipeBusyError,
    PipeClosedError as PipeClosedError,
    PortClosedError as PortClosedError,
    ResourceLimitError as ResourceLimitError,
    SharingViolationError as SharingViolationError,
    UnreachableError as UnreachableError,
)
from .winapi import FunctionUnavailableError as FunctionUnavailableError

__version__ = "0.1.0"

__all__ = [
    "AddressValidation",
    "Backoff",
    "BufferPool",
    "Change",
    "ChangeAction",
    "Completion",
    "CompletionPort",
    "ConnectionPool",
    "ControlData",
    "Datagram",
    "DatagramSession",
    "Delimited",
    "Directory",
    "Event",
    "File",
    "FixedSize",
    "FramedSession",
    "Framing",
    "IocpError",
    "Job",
    "JobEvent",
    "Kernel",
    "LengthPrefixed",
    "Limits",
    "NotifyFilter",
    "Operation",
    "Overflow",
    "Pipe",
    "PipeServer",
    "Process",
    "Recording",
    "Session",
    "SessionState",
    "Stream",
    "Timer",
    "Waitable",
    "copy_file",
    "drain",
    "explain",
    "hash_file",
    "read_blocks",
]


def _give_one_home(names: dict[str, object]) -> None:
    """Have each class and function say that it is from here: pickled exceptions name that."""
    moved = tuple(f"{__name__}.{place}" for place in ("engine", "handles", "memory", "observing"))
    moved += tuple(f"{__name__}.{place}" for place in ("servers", "port", "errors", "explanation"))
    for public in names.values():
        if getattr(public, "__module__", "").startswith(moved):
            public.__module__ = __name__


_give_one_home(globals())
