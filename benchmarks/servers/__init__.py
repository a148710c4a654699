"""The servers that the benchmark compares: one file a library, each the best it offers.

A server's file has a function for each role that is compared: ``serve_echo``, ``serve_broadcast``
(what comes on one connection goes to all), ``serve_datagrams`` (UDP echo) and ``serve_download``
(a file to whoever connects). Each takes the `Control`, says ``ready``, and serves until that says
stop.
"""
