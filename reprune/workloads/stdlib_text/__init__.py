"""The text of Python's own standard library, byte by byte, and a small transformer that predicts the next byte."""
