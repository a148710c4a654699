"""BufferPool: slices come back by themselves, and never while somebody can reach their bytes."""

from __future__ import annotations

import ctypes
import gc
import random
import socket
import threading
from typing import Any

import pytest
from faulty_kernel import FaultyKernel, Refusal

from pyiocp import (
    AccessDeniedError,
    BufferPool,
    CompletionPort,
    IocpError,
    Kernel,
    PoolExhaustedError,
    ResourceLimitError,
    Stream,
)
from pyiocp.memory.pages import PAGE_SIZE, extent_of, pages_of
from pyiocp.memory.privilege import enable_privilege
from pyiocp.observing.handle_count import handle_count
from pyiocp.winapi import errorcodes as codes

Pair = tuple[Stream, socket.socket]


def in_use(pool: BufferPool) -> int:
    return pool.statistics().in_use


def test_slice_is_a_writable_buffer_of_its_size() -> None:
    """A memoryview like any other: of bytes, assignable, sliceable, usable with the library."""
    with BufferPool(1000) as pool:
        view = pool.take()
        assert (type(view), len(view), view.format, view.readonly) == (memoryview, 1000, "B", False)
        view[:5] = b"hello"
        assert bytes(view[:5]) == b"hello"
        assert view[0] == ord("h")
        del view


def test_slice_comes_back_when_its_completion_has_been_dequeued(
    port: CompletionPort, pair: Pair
) -> None:
    """Nobody keeps anything but the completion: when that goes, without any collection, it is free.

    While the receive is pending it is not, whatever was dropped.
    """
    stream, peer = pair
    gc.disable()
    try:
        with BufferPool(1000, slices=1, slices_max=1) as pool:
            for n in range(300):
                stream.receive(pool.take())
                assert in_use(pool) == 1
                with pytest.raises(PoolExhaustedError):
                    pool.take()
                peer.sendall(b"%d" % n)
                [completion] = port.wait(60)
                assert (bytes(completion.data), in_use(pool)) == (b"%d" % n, 1)
                del completion
                assert in_use(pool) == 0
    finally:
        gc.enable()


def test_view_of_the_data_keeps_the_slice(port: CompletionPort, pair: Pair) -> None:
    """A view that outlives everything else: its bytes stay, and are nobody else's."""
    stream, peer = pair
    with BufferPool(1000, slices=4) as pool:
        stream.receive(pool.take())
        peer.sendall(b"kept")
        [completion] = port.wait(60)
        kept = completion.data[1:3]
        del completion
        others = [pool.take() for _ in range(8)]
        for other in others:
            other[:] = bytes(1000)
        assert bytes(kept) == b"ep"
        kept_at = extent_of(kept)[0]
        assert not [at for at, size in map(extent_of, others) if at <= kept_at < at + size]
        others.clear()
        del other
        assert in_use(pool) == 1
        del kept
        assert in_use(pool) == 0


def test_release_gives_a_slice_back_at_once() -> None:
    """``view.release()``; but not while another view of it is alive."""
    with BufferPool(64) as pool:
        view = pool.take()
        view.release()
        assert in_use(pool) == 0
        view = pool.take()
        other = view[:10]
        view.release()
        assert in_use(pool) == 1
        other.release()
        assert in_use(pool) == 0


def test_slice_released_while_the_kernel_has_it_comes_back_after(
    port: CompletionPort, pair: Pair
) -> None:
    """C13: the operation holds it, so that nobody gets it before the completion."""
    stream, peer = pair
    with BufferPool(100, slices=1, slices_max=1) as pool:
        view = pool.take()
        operation = stream.receive(view)
        view.release()
        assert in_use(pool) == 1
        peer.sendall(b"late")
        [completion] = port.wait(60)
        assert completion.bytes == 4
        assert in_use(pool) == 1
        del completion, operation
        assert in_use(pool) == 0


def test_slice_of_a_cancelled_and_of_a_refused_operation_comes_back(port: CompletionPort) -> None:
    """C14: after the cancelled one's packet; after a refusal at once."""
    with BufferPool(100) as pool:
        ours, peer = socket.socketpair()
        stream = port.stream(ours)
        operation = stream.receive(pool.take())
        assert operation.cancel()
        assert in_use(pool) == 1
        [completion] = port.wait(60)
        assert completion.error is not None
        del operation, completion
        assert in_use(pool) == 0
        with pytest.raises(IocpError):
            port.stream().receive(pool.take())
        gc.collect()
        assert in_use(pool) == 0
        peer.close()


def test_slice_of_a_closed_stream_comes_back_with_the_drain(pair: Pair) -> None:
    """C05: close() with a receive pending frees the slice only when its packet has come."""
    with BufferPool(100) as pool:
        ours, peer = socket.socketpair()
        with CompletionPort() as port:
            port.stream(ours).receive(pool.take())
            assert in_use(pool) == 1
            completions = port.close()
            assert [completion.bytes for completion in completions] == [0]
            assert in_use(pool) == 1
        del completions
        assert in_use(pool) == 0
        peer.close()


def test_slices_of_one_pool_never_share_a_byte() -> None:
    """A random half of 200 slices is dropped and taken again, 40 times: each keeps its mark."""
    chance = random.Random(7)
    with BufferPool(1000, slices=10) as pool:
        held: dict[int, memoryview] = {}
        mark = 0
        for _ in range(40):
            while len(held) < 200:
                mark += 1
                view = pool.take()
                view[:] = mark.to_bytes(4, "big") * 250
                held[mark] = view
            for wanted, view in held.items():
                assert bytes(view) == wanted.to_bytes(4, "big") * 250
            del view
            held = {key: view for key, view in held.items() if chance.random() < 0.5}
        assert pool.statistics().slices == 200
        assert pool.statistics().in_use_peak == 200


def test_slices_on_several_threads_are_nobody_elses() -> None:
    """Four threads take, mark, look again and drop, 2,000 times each; nobody sees another's."""
    wrong: list[bytes] = []

    def work(name: int) -> None:
        for n in range(2000):
            views = [pool.take() for _ in range(1 + n % 3)]
            for view in views:
                view[:] = bytes((name,)) * 64
            wrong.extend(bytes(view) for view in views if bytes(view) != bytes((name,)) * 64)

    with BufferPool(64, slices=2) as pool:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert in_use(pool) == 0
        # Of each thread, three new ones and, until they are named, two old ones.
        assert pool.statistics().slices <= 20


def test_pool_grows_by_slabs_up_to_its_limit() -> None:
    """Two and two and one; then `PoolExhaustedError`, until one comes back."""
    with BufferPool(3000, slices=2, slices_max=5) as pool:
        views = [pool.take()]
        found = []
        for _ in range(4):
            found.append((pool.statistics().slabs, pool.statistics().slices))
            views.append(pool.take())
        found.append((pool.statistics().slabs, pool.statistics().slices))
        assert found == [(1, 2), (1, 2), (2, 4), (2, 4), (3, 5)]
        with pytest.raises(PoolExhaustedError):
            pool.take()
        views.pop()
        views.append(pool.take())
        assert pool.statistics()[:5] == (3000, 5, 5, 5, 3)
        views.clear()


def test_slices_lie_on_as_few_pages_as_they_can() -> None:
    """1,000 slices of 1,000 bytes: 250 pages, and one page each; from the heap it is more."""
    with BufferPool(1000, slices=1000, debug=False) as pool:
        slices = [extent_of(view) for view in [pool.take() for _ in range(1000)]]
        assert [len(pages_of([extent])) for extent in slices] == [1] * 1000
        assert len(pages_of(slices)) == 250
        assert pool.statistics().bytes == 250 * PAGE_SIZE


def test_memory_goes_with_the_last_slice_of_a_closed_pool() -> None:
    """VirtualFree is called once for each slab: of those in use when their last slice goes."""
    kernel = FaultyKernel()
    freed: list[int] = []
    kernel.wrap("VirtualFree", lambda real, *a: freed.append(a[0]) or real(*a))
    pool = BufferPool(PAGE_SIZE, slices=2, kernel=kernel)
    views = [pool.take() for _ in range(4)]
    pool.close()
    pool.close()
    assert freed == []
    views[0][:] = views[3][:]
    del views[2:]
    assert len(freed) == 1
    del views[0]
    assert len(freed) == 1
    del views[0]
    assert len(set(freed)) == len(freed) == 2
    with pytest.raises(ValueError, match="closed"):
        pool.take()


def test_memory_of_a_dropped_pool_goes_with_it() -> None:
    """Without close() and without a collection."""
    kernel = FaultyKernel()
    freed: list[int] = []
    kernel.wrap("VirtualFree", lambda real, *a: freed.append(a[0]) or real(*a))
    pool = BufferPool(100, kernel=kernel)
    view = pool.take()
    del pool
    assert freed == []
    del view
    assert len(freed) == 1


def test_finalizer_keeps_the_callers_error_code() -> None:
    """C26: a slab that goes between somebody's call and their last_error() changes nothing."""
    kernel = FaultyKernel()
    kernel.wrap("VirtualFree", lambda real, *a: (real(*a), ctypes.set_last_error(5))[0])
    pool = BufferPool(100, locked=True, kernel=kernel)
    ctypes.set_last_error(4711)
    del pool
    assert ctypes.get_last_error() == 4711


class LockingKernel(FaultyKernel):
    """A kernel that notes what is locked, and keeps the working set, which Wine does not."""

    def __init__(self) -> None:
        super().__init__()
        self.locked: list[tuple[int, int]] = []
        self.unlocked: list[tuple[int, int]] = []
        self.working_set = [200_000, 1_400_000]
        self.wrap("VirtualLock", lambda real, *a: self.locked.append(a) or real(*a))
        self.wrap("VirtualUnlock", lambda real, *a: self.unlocked.append(a) or real(*a))
        self.wrap("GetProcessWorkingSetSizeEx", self._get)
        self.wrap("SetProcessWorkingSetSizeEx", self._set)

    def _get(self, real: Any, process: int, least: Any, most: Any, flags: Any) -> int:
        least._obj.value, most._obj.value = self.working_set
        flags._obj.value = 10
        return 1

    def _set(self, real: Any, process: int, least: int, most: int, flags: int) -> int:
        assert flags == 10
        self.working_set = [least, most]
        return 1


def test_locked_pool_raises_the_working_set_and_locks_once() -> None:
    """By the pool's own bytes; each page is locked once, and unlocked once when it is over."""
    kernel = LockingKernel()
    with BufferPool(1000, slices=8, locked=True, kernel=kernel) as pool:
        for _ in range(3):
            views = [pool.take() for _ in range(8)]
            views.clear()
        assert [size for _, size in kernel.locked] == [2 * PAGE_SIZE]
        assert kernel.working_set == [200_000 + 2 * PAGE_SIZE, 1_400_000 + 2 * PAGE_SIZE]
        assert pool.statistics().bytes_locked == 2 * PAGE_SIZE
        assert kernel.unlocked == []
    assert kernel.unlocked == kernel.locked
    assert kernel.working_set == [200_000, 1_400_000]


def test_locked_pool_works_on_the_real_system(port: CompletionPort, pair: Pair) -> None:
    """VirtualLock itself, and a receive into what it has locked."""
    stream, peer = pair
    with port.buffer_pool(2048, slices=32, locked=True) as pool:
        stream.receive(pool.take())
        peer.sendall(b"into locked pages")
        [completion] = port.wait(60)
        assert bytes(completion.data) == b"into locked pages"
        del completion
        assert pool.statistics().bytes_locked == pool.statistics().bytes == 16 * PAGE_SIZE


@pytest.mark.parametrize(
    ("function", "code", "kind"),
    [
        ("VirtualAlloc", codes.ERROR_NOT_ENOUGH_MEMORY, ResourceLimitError),
        ("VirtualLock", codes.ERROR_WORKING_SET_QUOTA, ResourceLimitError),
        ("GetProcessWorkingSetSizeEx", codes.ERROR_ACCESS_DENIED, AccessDeniedError),
        ("SetProcessWorkingSetSizeEx", codes.ERROR_NO_SYSTEM_RESOURCES, ResourceLimitError),
        ("SetProcessWorkingSetSizeEx", codes.ERROR_PRIVILEGE_NOT_HELD, AccessDeniedError),
    ],
)
def test_refused_memory_is_an_error_that_leaves_nothing(
    function: str, code: int, kind: type[IocpError]
) -> None:
    """C14: the second slab fails: what was allocated of it is freed, the first goes on."""
    kernel = LockingKernel()
    allocated: list[int] = []
    freed: list[int] = []
    refusal = Refusal(code, 0)
    refusal.enabled = False
    kernel.wrap("VirtualAlloc", lambda real, *a: (allocated.append(at := real(*a)), at)[1])
    kernel.wrap("VirtualFree", lambda real, *a: freed.append(a[0]) or real(*a))
    kernel.wrap(function, refusal)
    with BufferPool(100, slices=1, locked=True, kernel=kernel) as pool:
        view = pool.take()
        refusal.enabled = True
        for _ in range(3):
            with pytest.raises(kind) as caught:
                pool.take()
            assert (caught.value.winerror, caught.value.function) == (code, function)
        refusal.enabled = False
        assert pool.statistics()[:5] == (100, 1, 1, 1, 1)
        second = pool.take()
        assert pool.statistics().slabs == 2
        del view, second
    del caught
    gc.collect()
    assert sorted(freed) == sorted(allocated)
    assert kernel.working_set == [200_000, 1_400_000]


def test_large_pages_without_the_right_say_which_right() -> None:
    """The error names the privilege and where to give it."""
    kernel = FaultyKernel()
    kernel.wrap("VirtualAlloc", Refusal(codes.ERROR_PRIVILEGE_NOT_HELD, None))
    with pytest.raises(AccessDeniedError) as caught:
        BufferPool(4096, large_pages=True, kernel=kernel)
    assert caught.value.winerror == 1314
    assert "SeLockMemoryPrivilege" in caught.value.__notes__[0]


def test_large_pages_are_asked_for_in_their_own_size() -> None:
    """What VirtualAlloc gets; the rest of the large page is slices too, if there may be more."""
    kernel = FaultyKernel()
    asked: list[tuple[int, int]] = []

    def allocate(real: Any, address: Any, size: int, how: int, protection: int) -> Any:
        asked.append((size, how))
        return real(address, size, how & ~0x20000000, protection)

    kernel.wrap("VirtualAlloc", allocate)
    kernel.wrap("GetLargePageMinimum", lambda real: 1 << 21)
    with BufferPool(1000, slices=8, large_pages=True, kernel=kernel) as pool:
        assert asked == [(1 << 21, 0x20003000)]
        assert pool.statistics().bytes == 1 << 21
    kernel.wrap("GetLargePageMinimum", lambda real: 0)
    with pytest.raises(ValueError, match="processor"):
        BufferPool(1000, large_pages=True, kernel=kernel)


def test_privilege_is_switched_on_for_large_pages() -> None:
    """Before VirtualAlloc is asked; and off it is as before: a process has what it was given."""
    kernel = FaultyKernel()
    calls: list[str] = []

    def adjust(real: Any, token: Any, *arguments: Any) -> int:
        calls.append("AdjustTokenPrivileges")
        wanted = arguments[1]._obj
        assert (wanted.PrivilegeCount, wanted.Privileges[0].Attributes) == (1, 2)
        return real(token, *arguments)

    def allocate(real: Any, address: Any, size: int, how: int, protection: int) -> Any:
        calls.append("VirtualAlloc")
        return real(address, size, how & ~0x20000000, protection)

    kernel.wrap("AdjustTokenPrivileges", adjust)
    kernel.wrap("VirtualAlloc", allocate)
    handles = handle_count()
    for _ in range(20):
        BufferPool(4096, large_pages=True, kernel=kernel).close()
    assert calls == ["AdjustTokenPrivileges", "VirtualAlloc"] * 20
    assert handle_count() - handles < 4


def test_privilege_that_every_user_has_can_be_switched_on() -> None:
    """SeChangeNotifyPrivilege is on; a name that is none is not, and neither without a token."""
    kernel = FaultyKernel()
    assert enable_privilege(kernel, "SeChangeNotifyPrivilege") is True
    assert enable_privilege(kernel, "SeNoSuchPrivilege") is False
    kernel.wrap("OpenProcessToken", Refusal(codes.ERROR_ACCESS_DENIED, 0))
    assert enable_privilege(kernel, "SeChangeNotifyPrivilege") is False


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ({"slice_size": 0}, "slice_size"),
        ({"slice_size": 2**31}, "slice_size"),
        ({"slice_size": 10, "slices": 0}, "slices must"),
        ({"slice_size": 10, "slices": 10, "slices_max": 9}, "slices_max"),
        ({"slice_size": 10, "slices_max": 0}, "slices_max"),
    ],
)
def test_wrong_numbers_are_refused(arguments: dict[str, int], wanted: str) -> None:
    """Before anything is allocated, in words."""
    kernel = FaultyKernel()
    kernel.wrap("VirtualAlloc", lambda real, *a: pytest.fail("memory was asked for"))
    with pytest.raises(ValueError, match=wanted):
        BufferPool(**arguments, kernel=kernel)  # type: ignore[arg-type]


def test_pool_shows_what_is_used() -> None:
    """In its repr, also when it is closed."""
    pool = BufferPool(100, slices=5, kernel=Kernel())
    view = pool.take()
    assert repr(pool) == "<BufferPool: 1 of 5 slices of 100 bytes used>"
    del view
    pool.close()
    assert repr(pool) == "<BufferPool of 100 bytes, closed>"


@pytest.mark.parametrize(
    "rounds", [300, pytest.param(10_000, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_rounds_leave_nothing_behind(port: CompletionPort, pair: Pair, rounds: int) -> None:
    """Taken, received into, dropped; locked pools made and closed: no handle, slice or slab more.

    Every tenth round has a pool of its own, whose slices outlive it.
    """
    stream, peer = pair
    with BufferPool(1000, slices=8, locked=True) as pool:
        handles = handle_count()
        for n in range(rounds):
            other = BufferPool(100, slices=4, locked=True) if n % 10 == 0 else pool
            stream.receive(other.take())
            stream.send(pool.take()[:3])
            if other is not pool:
                other.close()
            peer.sendall(b"abc")
            ended = 0
            while ended < 2:
                ended += len(port.wait(60))
            assert peer.recv(3) != b""
        assert pool.statistics()[:5] == (1000, 8, 0, 2, 1)
        assert handle_count() - handles < 4


def test_guard_pages_that_are_refused_leave_nothing() -> None:
    """C14: VirtualProtect fails; what was allocated is freed, and the next pool is as ever."""
    kernel = FaultyKernel()
    freed: list[int] = []
    kernel.wrap("VirtualFree", lambda real, *a: freed.append(a[0]) or real(*a))
    kernel.wrap("VirtualProtect", Refusal(codes.ERROR_NOT_ENOUGH_MEMORY, 0, times=1))
    with pytest.raises(ResourceLimitError, match="VirtualProtect failed") as caught:
        BufferPool(100, debug=True, kernel=kernel)
    del caught
    gc.collect()
    assert len(freed) == 1
    with BufferPool(100, debug=True, kernel=kernel) as pool:
        pool.take().release()


def test_a_locked_pool_may_go_while_the_working_set_is_changed() -> None:
    """As when a collection runs a finalizer there: the next change lowers it by both."""
    kernel = LockingKernel()
    first = BufferPool(1000, slices=4, locked=True, kernel=kernel)
    first.take().release()
    pools = [first]

    def change(real: Any, *arguments: Any) -> int:
        if pools:
            pools.pop().close()
        return int(real(*arguments))

    kernel.wrap("SetProcessWorkingSetSizeEx", change)
    with BufferPool(1000, slices=4, locked=True, kernel=kernel) as second:
        second.take().release()
        assert (len(kernel.locked), len(kernel.unlocked)) == (2, 1)
    assert kernel.unlocked == kernel.locked
    assert kernel.working_set == [200_000, 1_400_000]
