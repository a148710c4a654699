"""Windows I/O completion ports for Python, in pure ctypes.

Start from `CompletionPort`. ``pyiocp.winapi`` has the Win32 functions themselves.
"""

from .buffer_pool import BufferPool as BufferPool
from .buffer_pool import PoolExhaustedError as PoolExhaustedError
from .completion import Completion as Completion
from .debugging import BufferRuleError as BufferRuleError
from .errors import AccessDeniedError as AccessDeniedError
from .errors import AddressUnavailableError as AddressUnavailableError
from .errors import AlreadyAssociatedError as AlreadyAssociatedError
from .errors import ConnectionLostError as ConnectionLostError
from .errors import ConnectRefusedError as ConnectRefusedError
from .errors import HandleClosedError as HandleClosedError
from .errors import HandleInvalidError as HandleInvalidError
from .errors import IocpError as IocpError
from .errors import MessageTruncatedError as MessageTruncatedError
from .errors import NetworkTimeoutError as NetworkTimeoutError
from .errors import NotConnectedError as NotConnectedError
from .errors import NotOverlappedError as NotOverlappedError
from .errors import OperationCancelledError as OperationCancelledError
from .errors import PathExistsError as PathExistsError
from .errors import PathNotFoundError as PathNotFoundError
from .errors import PeerResetError as PeerResetError
from .errors import PipeClosedError as PipeClosedError
from .errors import PortClosedError as PortClosedError
from .errors import ResourceLimitError as ResourceLimitError
from .errors import SharingViolationError as SharingViolationError
from .errors import UnreachableError as UnreachableError
from .explanation import Explanation as Explanation
from .explanation import explain as explain
from .handles.control_data import ControlData as ControlData
from .handles.control_data import ControlMessage as ControlMessage
from .handles.control_data import Ecn as Ecn
from .handles.datagram import Datagram as Datagram
from .handles.datagram_receive import DatagramCompletion as DatagramCompletion
from .handles.event import Event as Event
from .handles.job import Job as Job
from .handles.job_message import JobEvent as JobEvent
from .handles.job_message import JobMessage as JobMessage
from .handles.process import Process as Process
from .handles.process import ProcessCompletion as ProcessCompletion
from .handles.stream import Stream as Stream
from .handles.timer import Timer as Timer
from .handles.timer import TimerCompletion as TimerCompletion
from .handles.transmit import FilePart as FilePart
from .handles.waitable import Waitable as Waitable
from .kernel import Kernel as Kernel
from .listener import Listener as Listener
from .operation import Operation as Operation
from .port import CompletionPort as CompletionPort
from .send_queue import SendQueueOverflowError as SendQueueOverflowError
from .session import Session as Session
from .statistics import Statistics as Statistics
from .session_state import SessionState as SessionState
from .winapi import FunctionUnavailableError as FunctionUnavailableError
