"""Sessions over UDP.

datagram_server     one socket with a session for each peer
datagram_session    what a user subclasses
peer                what is behind it
newcomers           the peers that are ended first when there is no room
address_validation  admits peers that have proved their address
datagram_receives   receives for all peers
datagram_sends      sends for all peers
"""
