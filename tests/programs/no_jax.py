"""The few names of JAX that programs need to start; importing all of it takes seconds."""

from __future__ import annotations

from pathlib import Path

_SOURCE = """
Array = object

class config:
    jax_enable_x64 = False

def devices():
    return []
"""


def put_beside(program: Path) -> None:
    """Makes a program import these few names as `jax`."""
    (program.parent / "jax.py").write_text(_SOURCE)
