"""Keys of random numbers by the name of their use, so that no two uses of one seed are alike.

JAX's `split(key, n)[i]` and `fold_in(key, i)` are the same key: two uses that derive theirs from
one parent by numbers can meet without a word. A name cannot meet another one.
"""

from __future__ import annotations

import hashlib

import jax
import numpy as np

from behavior_priors.config.ranges import Seed, complaint
from behavior_priors.errors import UserError
from behavior_priors.types import PRNGKey


def named_key(seed: int, *name: str) -> PRNGKey:
    """The key of one use of a run's seed.

    Args:
      seed: of everything random in a run.
      *name: of the use, such as `"evaluate"`, or `"learn", "parrot"`; one such name in a program
        stands for one use.

    Raises:
      UserError: JAX would take the seed for another one.
    """
    if words := complaint(Seed, seed):
        raise UserError(f"seed={seed} should be {words}")
    return named_child(jax.random.key(seed), *name)


def key_shape() -> jax.ShapeDtypeStruct:
    """What a key looks like, to whoever asks for shapes only: making one compiles a program."""
    return jax.eval_shape(lambda: jax.random.key(0))


def named_child(key: PRNGKey, *name: str) -> PRNGKey:
    """The key of one use of what may draw from a key; other children of `key` have other names."""
    for word in _words(name):
        key = jax.random.fold_in(key, word)
    return key


def named_generator(seed: int, *name: str) -> np.random.Generator:
    """NumPy's generator for one use of a run's seed, on the host."""
    return np.random.default_rng([seed, *_words(name)])


def _words(name: tuple[str, ...]) -> tuple[int, int]:
    """64 bits that belong to a name, in two numbers that a key can be folded with."""
    digest = hashlib.sha256("/".join(name).encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")
