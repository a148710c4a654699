"""Directories on a port.

directory   watches one, and what is below it
change      one change, and what says that there were too many
"""
