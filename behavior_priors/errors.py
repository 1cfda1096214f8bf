"""The error that users read."""

from __future__ import annotations


class UserError(ValueError):
    """What the user gave cannot be used.

    The message is one line that names the flag or file and says what would be right; entry points
    print it without a traceback and exit with status 2.
    """
