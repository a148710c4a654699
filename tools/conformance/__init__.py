"""Conformance: CPython's own tests of asyncio, with pyiocp's loop in the ProactorEventLoop's place.

    python3 run.py conformance                          # all of them
    python3 run.py conformance test_streams test_events

Each class of tests runs in two processes of its own, one with the ProactorEventLoop and one with
`pyiocp.aio.EventLoop` where tests make a ProactorEventLoop, each with a time limit. What differs is
printed test by test, and the command fails for a test that passes with the ProactorEventLoop and
not with pyiocp's, unless `known` has it with a reason. It also fails for an entry of `known` that
is no longer needed. Classes that are about the SelectorEventLoop are left out: nothing is replaced
in them. A class that does not do as well as with the ProactorEventLoop runs once more.

run        starts the processes, and compares
one_class  what such a process runs
known      tests that cannot pass, with the reasons
"""
