"""Clients: what connects to a server.

target            what to connect to, and how
connector         one session's connection; happy_eyeballs races its addresses
backoff           when to try again
reconnecting      a client that comes back with a new session
connection_pool   connections that are used again
datagram_client   a session of datagrams with one server
"""
