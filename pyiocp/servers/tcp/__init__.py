"""Sessions over TCP.

listener          accepts clients and makes sessions of them; silent_clients handles those
                  that send no first data
session           what a user subclasses
connection        what is behind it: how it begins, closes and ends; owner is what the
                  next two see of it
receiving         the one receive, posted again after each ``on_receive``; session_receive
sending           what waits to be sent; gathered_send sends it, queued_file is a file in it
idle_operations   operations that no session needs at the moment
"""
