"""Put an echo server under load, in two processes, and check every byte that comes back.

One process serves with 32 AcceptEx outstanding. Another connects the clients, all on one
port; each keeps two messages of random sizes under way and checks what comes back. At the
end both count their handles and operations in flight: all must be gone.

examples:
  python -m pyiocp demo
  python -m pyiocp demo --clients 50 --seconds 3
  python -m pyiocp demo --seed 7 --json > result.json
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from ..handles.sockets.address_text import show_address
from ..port import CompletionPort
from .arguments import add_number
from .client_load import CONNECT_MAX_S, FINISH_MAX_S, Load, Outcome, Plan
from .json_output import add_json_option, print_json
from .progress import make_progress
from .resources import Resources, count_handles, count_in_flight, settle_handles, warm_up
from .server_process import ServerError, ServerProcess
from .wording import counted, show_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

HELP = "500 clients check every byte of an echo server"

_SERVER_START_MAX_S = 60.0
_SERVER_STOP_MAX_S = 20.0
_FAULTS_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options."""
    add_number(parser, "--clients N", 1, 10_000, "how many connections, 1 to 10,000", 500)
    add_number(parser, "--seconds S", 0.1, 86_400, "how long they send, once all are connected", 10)
    add_number(
        parser,
        "--max-size BYTES",
        1,
        1 << 24,
        "the largest message; sizes are spread evenly over the orders of magnitude",
        65536,
    )
    add_number(
        parser,
        "--seed N",
        0,
        2**64 - 1,
        "repeats the content of the run that printed it (default: chosen at random)",
        None,
    )
    add_json_option(parser, "the result", "; progress goes to stderr then")


def run(options: argparse.Namespace) -> int:
    """Run the demo; return 0 if everything came back and nothing was left over."""
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    plan = Plan(options.clients, options.seconds, seed, options.max_size)
    command = [sys.executable, "-m", "pyiocp.cli.demo_server"]
    return run_with(plan, command, as_json=options.json)


def run_with(plan: Plan, command: Sequence[str], *, as_json: bool = False) -> int:
    """Run the demo against the server process that `command` starts."""
    output = sys.stderr if as_json else sys.stdout
    longest = _SERVER_START_MAX_S + CONNECT_MAX_S + plan.seconds + FINISH_MAX_S + 30
    # Whatever hangs, here or in the server, both processes end: this timer does not need the
    # interpreter. It prints where every thread is.
    faulthandler.dump_traceback_later(longest, exit=True)
    try:
        result = Demo(plan, output).run([*command, str(longest)])
    except KeyboardInterrupt:
        output.write("pyiocp demo: interrupted; the server and the clients have ended\n")
        return 130
    finally:
        faulthandler.cancel_dump_traceback_later()
    if as_json:
        print_json(result)
    else:
        show_result(result, sys.stdout)
    return 0 if result["passed"] else 1


class Demo:
    """One run: the clients in this process, the server in another."""

    def __init__(self, plan: Plan, output: TextIO) -> None:
        self._plan = plan
        self._output = output
        self._faults: list[str] = []

    def run(self, command: list[str]) -> dict[str, Any]:
        """Run to the end and return all results."""
        plan = self._plan
        self._say(
            f"pyiocp demo: {counted(plan.clients, 'client')} for {plan.seconds:g} s,"
            f" messages of 1 to {plan.size_max:,} bytes, seed {plan.seed}"
        )
        with ServerProcess(command) as server:
            warm_up()  # while the server starts
            hello = server.read(_SERVER_START_MAX_S)
            self._say(
                f"server: process {hello['process']}, listening at"
                f" {show_address(hello['address'])}, {hello['accepts']} AcceptEx outstanding"
            )
            outcome, resources = self._run_clients(hello["address"])
            served = self._end_server(server)
        self._faults += outcome.faults
        self._compare(outcome, served)
        self._check_leaks(resources, served)
        return self._result(outcome, resources, served)

    def _run_clients(self, address: list[Any]) -> tuple[Outcome, Resources]:
        with make_progress(self._output) as progress:
            handles_before = count_handles()
            with CompletionPort() as port:
                outcome = Load(port, tuple(address), self._plan, progress.show).run()
            in_flight = count_in_flight(port)
            del port
            handles = settle_handles(handles_before)
        return outcome, Resources(handles_before, handles, in_flight)

    def _end_server(self, server: ServerProcess) -> dict[str, Any] | None:
        """Return the server's report; None, and a fault, if there is none."""
        server.stop()
        try:
            report = server.read(_SERVER_STOP_MAX_S)
        except ServerError as error:
            self._faults.append(str(error))
            server.end(timeout=0)
            return None
        if not server.end(_SERVER_STOP_MAX_S):
            self._faults.append("the server reported, but did not end and was killed")
        elif server.exit_code:
            self._faults.append(f"the server ended with exit code {server.exit_code}")
        return report

    def _compare(self, outcome: Outcome, served: dict[str, Any] | None) -> None:
        """Check that the figures of both processes agree."""
        if served is None or self._faults:
            return  # the figures differ because of that
        for what, ours, theirs in (
            ("connections", self._plan.clients, served["connections"]),
            ("bytes from the clients to the server", outcome.sent_bytes, served["received_bytes"]),
            ("bytes from the server to the clients", outcome.received_bytes, served["sent_bytes"]),
            ("sessions at the end", 0, served["sessions_left"]),
            ("clients lost before they were accepted", 0, served["lost_before_accept"]),
        ):
            if ours != theirs:
                self._faults.append(f"{what}: {ours:,} by the clients, {theirs:,} by the server")
        self._faults += [f"server: a session broke off: {text}" for text in served["errors"]]

    def _check_leaks(self, resources: Resources, served: dict[str, Any] | None) -> None:
        sides = {"clients": resources}
        if served is not None:
            sides["server"] = Resources(**served["resources"])
        for side, held in sides.items():
            leak = held.leak()
            if leak is not None:
                self._faults.append(f"leak in the process of the {side}: {leak}")

    def _result(
        self, outcome: Outcome, resources: Resources, served: dict[str, Any] | None
    ) -> dict[str, Any]:
        measured = outcome.measured
        return {
            "passed": not self._faults,
            "seed": self._plan.seed,
            "clients": self._plan.clients,
            "max_size": self._plan.size_max,
            "depth": self._plan.depth,
            **outcome.rates(),
            "p50_ms": round(measured.round_trips.quantile_s(0.50) * 1000, 3),
            "p99_ms": round(measured.round_trips.quantile_s(0.99) * 1000, 3),
            "longest_ms": round(measured.round_trips.longest_s * 1000, 3),
            "all_messages": outcome.messages,
            "bytes_sent": outcome.sent_bytes,
            "bytes_back": outcome.received_bytes,
            "client_resources": asdict(resources),
            "server": served,
            "faults": self._faults[:_FAULTS_SHOWN],
            "faults_count": len(self._faults),
        }

    def _say(self, line: str) -> None:
        self._output.write(f"{line}\n")
        self._output.flush()


def show_result(result: dict[str, Any], output: TextIO) -> None:
    """Print the summary."""
    write = output.write
    if result["messages"]:
        p50, p99, longest = (
            show_duration(result[name] / 1000) for name in ("p50_ms", "p99_ms", "longest_ms")
        )
        write(
            f"\n{counted(result['clients'], 'client')} connected in {result['connect_s']:.1f} s,"
            f" then in {result['seconds']:.1f} s"
            f" {counted(result['messages'], 'message')} came back:\n"
            f"  {result['messages_per_s']:,.0f} messages/s,"
            f" {result['megabytes_per_s']:,.1f} MB/s each way\n"
            f"  round trip p50 {p50}, p99 {p99}, longest {longest}, with {result['depth']} messages"
            " under way on every connection\n"
        )
    write(
        f"\nchecked: {result['bytes_sent']:,} bytes out, {result['bytes_back']:,} bytes back,"
        f" {result['all_messages']:,} messages in all\n"
    )
    show_resources("clients", result["client_resources"], output)
    if result["server"] is not None:
        show_resources("server", result["server"]["resources"], output)
    write("\n")
    for fault in result["faults"]:
        write(f"FAULT: {fault}\n")
    if result["faults_count"] > len(result["faults"]):
        write(f"FAULT: and {result['faults_count'] - len(result['faults'])} more\n")
    if result["passed"]:
        write("passed: nothing was lost, changed, reordered or leaked\n")
    else:
        faults = counted(result["faults_count"], "fault")
        write(f"FAILED: {faults}; --seed {result['seed']} sends the same content again\n")
    output.flush()


def show_resources(side: str, held: dict[str, int], output: TextIO) -> None:
    """Print what a process held before and after."""
    output.write(
        f"{side}: {held['handles_before']} handles before, {held['handles_after']} after,"
        f" {held['in_flight']} operations in flight\n"
    )
