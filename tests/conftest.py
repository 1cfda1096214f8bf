"""What holds for every test: two CPU devices, and arrays that mix neither dtypes nor ranks."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

# Before any backend starts. One device would hide whatever goes wrong between two.
jax.config.update("jax_num_cpu_devices", 2)

# Whatever was started in the background ignores Ctrl-C, and so would the programs that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent

# Rooms whose tests run Adam, in whose bias correction optax raises a Python float to an int32.
MIXES_DTYPES = (
    "benchmarks",
    "experiments",
    "launch",
    "learners",
    "test_examples",
    "test_readme",
    "training",
)

# Rooms whose tests sample from distrax, which adds a location to samples of higher rank.
# Geometry adds vectors to lists of vectors.
MIXES_RANKS = ("test_distributions", "priors", "envs", "data", *MIXES_DTYPES)


@pytest.fixture(scope="module", autouse=True)
def strict_arrays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Implicit promotion is an error wherever the dependencies allow it.

    Module-wide, so that it also holds for fixtures that a module shares between its tests.
    """
    room = request.path.relative_to(TESTS).parts[0].removesuffix(".py")
    with contextlib.ExitStack() as stack:
        if room not in MIXES_DTYPES:
            stack.enter_context(jax.numpy_dtype_promotion("strict"))
        if room not in MIXES_RANKS:
            stack.enter_context(jax.numpy_rank_promotion("raise"))
        yield
