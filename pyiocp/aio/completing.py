"""`completed` awaits an operation that is on the loop's port, such as a read of a file.

A cancelled task never lets go of an operation that the kernel still has: the operation is asked to
be cancelled, and the task waits until it has ended, one way or the other. Either may win that race.
Data that has won is kept with the operation, for who asks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from typing import TYPE_CHECKING, Any

from ..engine.operation import Operation
from ..engine.packet import COMPLETED, PENDING
from ..errors import IocpError, MessageTruncatedError
from ..handles.pipes.pipe_connect import PipeConnect
from .event_loop import EventLoop

if TYPE_CHECKING:
    from ..engine.completion import Completion
    from ..engine.queue import CompletionQueue

    Cancellable = Operation | PipeConnect
    Ended = tuple[Completion, tuple[object, ...] | None]

_CANCEL_AGAIN_S = 0.2
"""Seconds after which an operation is asked once more to be cancelled: Wine forgets to cancel a
send that is moving bytes just then."""

#: How operations have ended that a cancelled task has waited for.
# Lifetime: the values do not refer to their keys, so they go with them.
_kept: weakref.WeakKeyDictionary[Cancellable, Completion] = weakref.WeakKeyDictionary()


async def completed(operation: Cancellable) -> Completion:
    """Wait until an operation of the loop's port has ended; return its `Completion`.

    ::

        file = loop.port.file("log.txt")
        completion = await aio.completed(file.read(bytearray(4096), 0))

    operation: what a method of a handle on ``loop.port`` has returned (``file.read``,
        ``timer.after``, ``pipe.write`` …), or ``connect_pipe`` of the port. It may have ended
        by now. Each ``post()`` of an operation has one completion, so an operation that is
        posted again is awaited again; of a series of ticks, each call returns the next.

    Raises the completion's error if it has one: `OperationCancelledError` if somebody has
    cancelled it, `PeerResetError` and so on. A datagram that was cut off is returned, with its
    ``error``, because what fitted is there.

    Cancelling the task cancels the operation, and waits until the kernel has given it back; then
    CancelledError is raised, whatever the operation has done, so that `asyncio.timeout`,
    `asyncio.wait_for` and `asyncio.TaskGroup` work as with everything else. An operation that
    was faster has ended with its data. That is not lost: ``completed(operation)`` once more
    returns it at once. If it has been cancelled, that raises `OperationCancelledError`, unless it
    has been posted again.

    Raises TypeError for what is no operation, ValueError for one on another port, RuntimeError
    for one that has not been posted, whose completion somebody has taken, or waits for, and
    where no `EventLoop` runs.

    Thread safety: as all of asyncio, only in the loop's thread.

    Lifetime: the operation's buffers are the kernel's until it has ended, also if nobody waits.
    """
    queue = _queue_of(operation)
    completion = _kept.pop(operation, None)
    if completion is not None:
        completion.operation = operation
        if operation.state is not PENDING or completion.error is None:
            return result_of(completion)
    if queue.unclaimed:
        completion = _take_unclaimed(queue, operation)
        if completion is not None:
            return result_of(completion)
    if operation.receiver is not None:
        raise RuntimeError(f"something else waits for the completion of {operation!r}")
    if operation.state is not PENDING:
        if operation.state is COMPLETED and threading.get_ident() in queue.dispatching:
            # A task that has begun at once, in a receiver: what has ended in the same round as
            # its operation is there after the round.
            await asyncio.sleep(0)
            completion = _take_unclaimed(queue, operation)
            if completion is not None:
                return result_of(completion)
        raise RuntimeError(
            f"{operation!r} has not been posted, or its completion has been taken: post() it"
        )
    completion, cancelled = await ended(operation)
    if cancelled is not None:
        _keep(operation, completion)
        raise asyncio.CancelledError(*cancelled)
    return result_of(completion)


async def ended(operation: Cancellable) -> Ended:
    """Wait until a pending operation has ended, whether or not the task is cancelled.

    Returns the completion, and the arguments of the CancelledError that the caller has to raise, if
    any: the operation has been cancelled then, unless it was faster. (The error itself would make a
    ring with the frames that it has been in, and those have the operation.)
    """
    end = _End(asyncio.get_running_loop())
    operation.receiver = end.receive
    cancelled = None
    try:
        await end.future
    except asyncio.CancelledError as error:
        cancelled = error.args
    if not end.come:
        await _cancel(operation, end)
    if end.error is not None:
        raise end.error
    assert end.completion is not None, "it has come"
    return end.completion, cancelled


class _End:
    """How an operation has ended, once that has ``come``.

    Not the result of the future: a task that is cancelled cancels that, and only later, when others
    have had their turn, is told so.
    """

    __slots__ = ("come", "completion", "error", "future")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self.come = False
        self.completion: Completion | None = None
        self.error: Exception | None = None

    def receive(self, packet: Cancellable, count: int, status: int) -> None:
        """Take how the operation has ended: a receiver."""
        packet.receiver = None  # before a series of ticks posts itself again
        try:
            self.completion = packet.finish(count, status)
        except Exception as error:  # noqa: BLE001, the task gets it
            self.error = error
        self.come = True
        future = self.future
        # A closed loop calls nobody: its port takes back what is in flight.
        if not (future.done() or future.get_loop().is_closed()):
            future.set_result(None)


async def _cancel(operation: Cancellable, end: _End) -> None:
    """Cancel an operation, and wait until it has ended, however often the task is cancelled."""
    end.future = asyncio.get_running_loop().create_future()
    while not end.come:
        with contextlib.suppress(IocpError):  # if it cannot be cancelled, it ends by itself
            operation.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # the kernel has it all the same
            await asyncio.wait((end.future,), timeout=_CANCEL_AGAIN_S)


def result_of(completion: Completion) -> Completion:
    """Return a completion, or raise its error if there is nothing else in it."""
    error = completion.error
    if error is None or (completion.bytes and isinstance(error, MessageTruncatedError)):
        return completion
    raise error


def _queue_of(operation: Any) -> CompletionQueue:
    """Return the queue of the running loop, which must be the operation's."""
    if isinstance(operation, Operation):
        home: Any = operation.handle.home
    elif isinstance(operation, PipeConnect):
        home = operation._home
    else:
        raise TypeError(
            "completed() needs an operation, such as loop.port.file(…).read(…) returns,"
            f" not {operation!r}"
        )
    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        raise RuntimeError(f"completed() works in a loop of pyiocp.aio only, not in {loop!r}")
    if home is not loop.port._queue:
        raise ValueError(f"{operation!r} is on {home.port!r}, and this loop waits on {loop.port!r}")
    return loop.port._queue


def _take_unclaimed(queue: CompletionQueue, operation: Cancellable) -> Completion | None:
    """Take an operation's first completion out of those that nobody has taken yet."""
    for completion in list(queue.unclaimed):
        if completion.operation is operation:
            queue.unclaimed.remove(completion)
            return completion
    return None


def _keep(operation: Cancellable, completion: Completion) -> None:
    """Keep a completion for who asks for it once more."""
    error = completion.error  # made now, as it needs the operation
    if isinstance(error, IocpError):
        error.subject = None
    completion.operation = None
    _kept[operation] = completion
