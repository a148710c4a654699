"""TLS: OpenSSL between a session and its connection. Importing ssl takes 20 ms: only these do.

tls           what a user sees of it: errors, and what was agreed upon
tls_side      what all sessions of one listener, or one client, have in common
tls_layer     one session's; tls_backlog is what it has yet to encrypt, tls_file a file in it
"""
