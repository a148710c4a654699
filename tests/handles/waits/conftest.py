"""What the tests of waits share: a kernel that waits in either way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from waiting_kernels import PacketKernel, PoolKernel, WaitingKernel


@pytest.fixture(params=[PoolKernel, PacketKernel])
def waiting_kernel(request: pytest.FixtureRequest) -> Iterator[WaitingKernel]:
    """A kernel that waits for objects, in the one way and then in the other."""
    kernel = request.param()
    yield kernel
    kernel.stop()
