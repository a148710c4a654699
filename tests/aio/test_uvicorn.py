"""uvicorn with a Starlette app on the loop: what people type, from start to Ctrl-C."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable
from pathlib import Path

from commands import INTERRUPTIBLE, Command

PROGRAM = """
import asyncio, contextlib, sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

@contextlib.asynccontextmanager
async def lifespan(app):
    print("lifespan begins", flush=True)
    yield
    print("lifespan ends", flush=True)

async def loop_name(request):
    kind = type(asyncio.get_running_loop())
    return PlainTextResponse(f"{kind.__module__}.{kind.__name__}")

async def echo(request):
    return PlainTextResponse(await request.body())

async def stream(request):
    async def parts():
        for number in range(1000):
            yield b"%06d" % number
            await asyncio.sleep(0)
    return StreamingResponse(parts())

app = Starlette(
    routes=[
        Route("/loop", loop_name),
        Route("/echo", echo, methods=["POST"]),
        Route("/stream", stream),
    ],
    lifespan=lifespan,
)
"""


def test_uvicorn_serves_and_ends(tmp_path: Path, start: Callable[..., Command]) -> None:
    (tmp_path / "app_of_test.py").write_text(PROGRAM)
    command = start(
        INTERRUPTIBLE,
        *("-m", "uvicorn", "app_of_test:app", "--app-dir", str(tmp_path), "--port", "0"),
        *("--loop", "pyiocp.aio:new_event_loop", "--no-use-colors"),
    )
    found = re.search(r"http://127.0.0.1:(\d+)", command.line_with("Uvicorn running"))
    assert found is not None
    port = int(found[1])

    def visit() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(5):
            body = bytes(range(256)) * 1000
            connection.request("POST", "/echo", body)
            assert connection.getresponse().read() == body
        connection.request("GET", "/stream")
        assert connection.getresponse().read() == b"".join(b"%06d" % n for n in range(1000))
        connection.request("GET", "/loop")
        assert connection.getresponse().read() == b"pyiocp.aio.event_loop.EventLoop"
        connection.close()
        visited.append(True)

    visited: list[bool] = []
    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert visited == [True] * 8
    command.press_ctrl_c()
    command.end()
    output = "\n".join(command.output)
    assert "lifespan ends" in output
    assert "Finished server process" in output
    assert "Traceback" not in output
    assert "Event loop is closed" not in output
