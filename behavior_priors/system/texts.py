"""Texts that somebody else has written, in messages of this library's."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text on one line, without what moves a terminal's cursor or ends XLA.

    Letters that cannot be printed, such as those of a file name that is not UTF-8, are escaped.
    """
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(map(_escaped, line))


def _escaped(letter: str) -> str:
    return letter if letter.isprintable() else ascii(letter)[1:-1]
