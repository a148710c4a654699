r"""Readiness: asking, by a completion port, whether sockets can be read and written.

The sockets are on no port, or on another one: the question is asked of ``\Device\Afd``, the driver
below Winsock.

afd_device     a handle of the driver, on the port
socket_poll    the question about one socket
socket_polls   all the questions, asked again after each answer
"""
