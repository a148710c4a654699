"""Sockets on a port.

socket_handle      what every kind has: options, addresses, receive and send
stream             a stream socket; its larger operations are in accept, connect and transmit
datagram           a datagram socket; its operations are in datagram_receive and datagram_send
control_data       the control messages that come with a datagram
shared_listening   a listening socket that several processes accept from
hand_over          passing a socket to another process
address_text       addresses as people write them
"""
