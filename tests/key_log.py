"""A record of every key that programs derive and use, taken while they run."""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

SAMPLERS = ("bernoulli", "bits", "categorical", "choice", "normal", "permutation", "randint")
SAMPLERS += ("truncated_normal", "uniform")


class KeyLog:
    """Derivations and uses of keys, by the keys' own words.

    Attributes:
      uses: for each key, the places in our code that split it, fold it or draw from it.
      parents: for each derived key, the keys that it was derived from, and how.
    """

    def __init__(self) -> None:
        self.uses: dict[bytes, set[str]] = defaultdict(set)
        self.parents: dict[bytes, set[tuple[bytes, str]]] = defaultdict(set)

    def used_twice(self) -> list[str]:
        """Keys that two places make use of, each as the places' names."""
        return sorted({" and ".join(sorted(x)) for x in self.uses.values() if len(x) > 1})

    def met(self) -> list[str]:
        """Keys that two different derivations have come to, each as how they were derived."""
        return sorted(
            {" and ".join(sorted(how for _, how in x)) for x in self.parents.values() if len(x) > 1}
        )

    def descend_from(self, key: bytes) -> set[bytes]:
        """A key and all that were derived from it."""
        children: dict[bytes, list[bytes]] = defaultdict(list)
        for child, parents in self.parents.items():
            for parent, _ in parents:
                children[parent].append(child)
        found, waiting = {key}, [key]
        while waiting:
            new = [x for x in children[waiting.pop()] if x not in found]
            found.update(new)
            waiting += new
        return found

    @contextlib.contextmanager
    def listen(self) -> Iterator[None]:
        """Takes the record while programs are traced and run inside; nothing may be compiled yet.

        Draws by functions of JAX's that themselves draw count as draws of those who called them.
        """
        with contextlib.ExitStack() as stack:
            for name in ("split", "fold_in", *SAMPLERS):
                stack.callback(setattr, jax.random, name, getattr(jax.random, name))
                setattr(jax.random, name, self._wrap(name, getattr(jax.random, name)))
            yield

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(key: Any, *args: Any, **kwargs: Any) -> Any:
            result = function(key, *args, **kwargs)
            if not jax.dtypes.issubdtype(jax.numpy.asarray(key).dtype, jax.dtypes.prng_key):
                return result
            site, words = _caller(), jax.random.key_data(key)
            if name in ("split", "fold_in"):
                numbers = jax.numpy.uint32(args[0] if name == "fold_in" else 0)
                derived = jax.random.key_data(result)
                jax.debug.callback(self._derive, f"{name} at {site}", words, derived, numbers)
            else:
                jax.debug.callback(self._use, f"{name} at {site}", words)
            return result

        return wrapped

    def _use(self, place: str, words: Any) -> None:
        for one in np.asarray(words).reshape(-1, np.shape(words)[-1]):
            self.uses[one.tobytes()].add(place)

    def _derive(self, place: str, words: Any, derived: Any, number: Any) -> None:
        self._use(place, words)
        parent = np.asarray(words).tobytes()
        rows = np.asarray(derived).reshape(-1, np.shape(derived)[-1])
        for index, row in enumerate(rows):
            self.parents[row.tobytes()].add((parent, f"{place} [{index + int(number)}]"))


def _caller() -> str:
    """The nearest line that is neither JAX's nor this file's, as `file:line`."""
    frame = sys._getframe(2)
    while "jax/_src" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno}"
