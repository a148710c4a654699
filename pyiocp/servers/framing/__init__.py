"""Messages within a stream of bytes.

framing          where a message ends: by its length, by a delimiter, by a fixed size
frame_parser     takes the stream apart
framed_session   a session that gets messages
"""
