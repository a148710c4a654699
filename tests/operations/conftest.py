"""What the tests of operations share: a port whose kernel can be made to fail, or wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faulty_kernel import FaultyKernel
from waiting_kernels import PacketKernel, PoolKernel, WaitingKernel

from pyiocp import CompletionPort


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
