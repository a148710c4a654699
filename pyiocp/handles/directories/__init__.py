"""Directories on a port.

directory   a directory that is watched, alone or with all directories below it
change      a change, or the report that there were too many to tell
"""
