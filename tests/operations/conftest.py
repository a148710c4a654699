"""What the tests of operations share: a port whose kernel can be made to fail, or wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from faulty_kernel import FaultyKernel
from waiting_kernels import PacketKernel, PoolKernel, WaitingKernel

from pyiocp import CompletionPort


@pytest.fixture
def kernel() -> FaultyKernel:
    """The real kernel, of which a test may wrap functions: before it asks for a port."""
    return FaultyKernel()


@pytest.fixture(params=[PoolKernel, PacketKernel])
def waiting_kernel(request: pytest.FixtureRequest) -> Iterator[WaitingKernel]:
    """A kernel that waits for objects, in the one way and then in the other."""
    kernel = request.param()
    yield kernel
    kernel.stop()


@pytest.fixture
def port(kernel: FaultyKernel) -> Iterator[CompletionPort]:
    """A completion port with the kernel; it must be empty when it is closed."""
    with CompletionPort(kernel=kernel) as port:
        yield port
    assert port.in_flight == {}
    assert getattr(kernel, "open_packets", set()) == set()


@pytest.fixture
def open_port(kernel: FaultyKernel) -> Iterator[Callable[[], CompletionPort]]:
    """Make ports with the kernel, once the test has wrapped what it wants."""
    ports: list[CompletionPort] = []

    def make() -> CompletionPort:
        ports.append(CompletionPort(kernel=kernel))
        return ports[-1]

    yield make
    for port in ports:
        port.close()
        assert port.in_flight == {}
