"""Sockets on a port.

socket_handle      what every kind has: options, addresses, receive and send
stream             a stream socket; accept, connect and transmit have its larger operations
datagram           a datagram socket; datagram_receive and datagram_send likewise
control_data       the control messages that come with a datagram
shared_listening   a listening socket that several processes have
hand_over          a connection for another process
address_text       addresses as people write them
"""
