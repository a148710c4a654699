"""TLS: OpenSSL between a session and its connection. Importing ssl takes 20 ms: only these do.

tls           what a user sees of it: errors, and the result of a handshake
tls_side      the settings that all sessions of one listener, or one client, share
tls_layer     one session's TLS; tls_backlog is what it has yet to encrypt, tls_file a file in it
"""
