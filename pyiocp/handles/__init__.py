"""The kinds of handle that a completion port takes, one file per kind."""
