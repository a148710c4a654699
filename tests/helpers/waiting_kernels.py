"""Kernels that wait for objects in either way: the system's, and the one that it lacks.

Windows has wait completion packets, Wine 8 has not; the pool's waits both have. What is
built on them is tested with both everywhere: `PoolKernel` hides the packets, and
`PacketKernel` makes them, by what their documentation says, of the pool's waits.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from faulty_kernel import FaultyKernel, entries_of

from pyiocp import CompletionPort, FunctionUnavailableError, winapi
from pyiocp.winapi import (
    DWORD,
    INFINITE,
    INVALID_HANDLE_VALUE,
    IO_COMPLETION_BASIC_INFORMATION,
    LPOVERLAPPED,
    STATUS_CANCELLED,
    STATUS_INVALID_PARAMETER,
    STATUS_PENDING,
    STATUS_SUCCESS,
    ULONG_PTR,
    IoCompletionBasicInformation,
)


def packets_queued(port: CompletionPort) -> int:
    """How many packets the kernel has for a port."""
    information = IO_COMPLETION_BASIC_INFORMATION()
    size = ctypes.sizeof(information)
    asked = IoCompletionBasicInformation
    status = winapi.NtQueryIoCompletion(port.handle, asked, ctypes.byref(information), size, None)
    assert status == STATUS_SUCCESS
    return int(information.Depth)


def wait_until_queued(port: CompletionPort, count: int = 1) -> None:
    """Wait until the kernel has so many packets for the port, which nobody dequeues."""
    until = time.monotonic() + 60
    while packets_queued(port) < count:
        assert time.monotonic() < until, "no packet was queued"
        time.sleep(0.001)  # for another thread to queue it; bounded above


def signed(status: int) -> int:
    """An NTSTATUS as ring 1 returns it."""
    return ctypes.c_int32(status).value


class PoolKernel(FaultyKernel):
    """A kernel without wait completion packets."""

    def __init__(self) -> None:
        super().__init__()
        self.NtCreateWaitCompletionPacket = self._missing  # type: ignore[assignment]

    def _missing(self, *arguments: Any) -> int:
        raise FunctionUnavailableError("a kernel without wait completion packets")

    def stop(self) -> None:
        """Nothing to be stopped."""


class Association:
    """What a packet waits for. ``state`` is waiting, queued or dequeued."""

    def __init__(self, port: int, key: int, tag: int) -> None:
        self.port = port
        self.key = key
        self.tag = tag
        self.state = "waiting"
        self.registration = 0


class PacketKernel(FaultyKernel):
    """A kernel with wait completion packets, made of the pool's waits.

    The pool queues to a port of the kernel's own, from where a thread carries each packet to
    the port that it is for. So it is known at any time where a packet is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.open_packets: set[int] = set()
        self._lock = threading.Lock()
        self._associations: dict[int, Association] = {}
        self._numbers = itertools.count(1)
        self._under_way: dict[int, Association] = {}
        self._relay = winapi.CreateIoCompletionPort(INVALID_HANDLE_VALUE, None, 0, 1) or 0
        self.NtCreateWaitCompletionPacket = self._create  # type: ignore[assignment]
        self.NtAssociateWaitCompletionPacket = self._associate  # type: ignore[assignment]
        self.NtCancelWaitCompletionPacket = self._cancel  # type: ignore[assignment]
        self.wrap("CloseHandle", self._close)
        self.wrap("GetQueuedCompletionStatusEx", self._dequeue)
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def stop(self) -> None:
        """End the thread that carries the packets."""
        winapi.PostQueuedCompletionStatus(self._relay, 0, 0, None)
        self._thread.join(60)
        winapi.CloseHandle(self._relay)

    def _create(self, receives: Any, access: int, attributes: None) -> int:
        number = winapi.CreateEventW(None, True, False, None)  # any handle that can be closed
        assert number is not None
        receives._obj.value = number
        self.open_packets.add(number)
        return STATUS_SUCCESS

    def _associate(
        self, packet: int, port: int, target: int, key: int, tag: int, *rest: Any
    ) -> int:
        assert rest == (STATUS_SUCCESS, 0, None)
        with self._lock:
            earlier = self._associations.get(packet)
            if earlier is not None and earlier.state != "dequeued":
                return signed(STATUS_INVALID_PARAMETER)
            number = next(self._numbers)
            association = self._associations[packet] = Association(port, key, tag)
            self._under_way[number] = association
            association.registration = self.RegisterWaitWithQueue(
                target, self._relay, number, INFINITE
            )
        return STATUS_SUCCESS

    def _cancel(self, packet: int, remove: bool) -> int:
        assert not remove, "a packet that is queued has to be delivered"
        with self._lock:
            association = self._associations.get(packet)
            if association is None or association.state == "dequeued":
                return signed(STATUS_CANCELLED)
            if association.state == "waiting":
                if not self._end(association):
                    return STATUS_PENDING  # the pool is queuing it
                self._carry_one(0)  # it may have been signalled until just now
            if association.state == "waiting":
                del self._associations[packet]
                return STATUS_SUCCESS
            return STATUS_PENDING

    def _close(self, real: Callable[..., int], number: int) -> int:
        if number in self.open_packets:
            with self._lock:
                association = self._associations.pop(number, None)
                assert association is None or association.state == "dequeued", (
                    "closing a packet takes it off its port"
                )
            self.open_packets.remove(number)
        return real(number)

    def _end(self, association: Association) -> bool:
        """End its wait; False if the pool's call is under way. See `object_wait`."""
        registration, association.registration = association.registration, 0
        return not registration or bool(winapi.UnregisterWaitEx(registration, None))

    def _carry(self) -> None:
        while self._carry_one(INFINITE):
            pass

    def _carry_one(self, milliseconds: int) -> bool:
        """Carry a packet from the relay; False if it says to stop. With the lock if it is 0."""
        count, key, tag = DWORD(), ULONG_PTR(), LPOVERLAPPED()
        where = ctypes.byref(count), ctypes.byref(key), ctypes.byref(tag)
        if not winapi.GetQueuedCompletionStatus(self._relay, *where, milliseconds):
            return True
        number = ctypes.cast(tag, ctypes.c_void_p).value
        if number is None:
            return False
        if milliseconds:
            with self._lock:
                self._queue(number)
        else:
            self._queue(number)
        return True

    def _queue(self, number: int) -> None:
        association = self._under_way.pop(number)
        self._end(association)
        association.state = "queued"
        tag = ctypes.cast(association.tag, LPOVERLAPPED)
        winapi.PostQueuedCompletionStatus(association.port, 0, association.key, tag)

    def _dequeue(self, real: Callable[..., int], *arguments: Any) -> int:
        result = real(*arguments)
        code = ctypes.get_last_error()
        if result:
            tags = {
                ctypes.cast(entry.lpOverlapped, ctypes.c_void_p).value
                for entry in entries_of(arguments)
            }
            with self._lock:
                for association in self._associations.values():
                    if association.tag in tags:
                        association.state = "dequeued"
        ctypes.set_last_error(code)
        return result


WaitingKernel = PoolKernel | PacketKernel
