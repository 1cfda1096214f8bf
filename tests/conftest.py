"""What holds for every test: two CPU devices, and arrays that mix neither dtypes nor ranks."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import pytest

if TYPE_CHECKING:
    from tests.experiments.forks import Forks

from tests.compiler import DEVICES, cache_settings, fast_flags, keep_compiled

# Both before any backend starts.
os.environ["XLA_FLAGS"] = fast_flags(os.environ.get("XLA_FLAGS", ""))
jax.config.update("jax_num_cpu_devices", DEVICES)
for name, value in cache_settings().items():
    jax.config.update(name, value)

# As programs do (`programs.entry.GARBAGE`), which is not imported here: it sets XLA_FLAGS itself.
gc.set_threshold(50_000, 20, 50)

# Whatever was started in the background ignores Ctrl-C, and so would the programs that are tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TESTS = Path(__file__).parent

# Rooms whose tests run Adam, in whose bias correction optax raises a Python float to an int32.
MIXES_DTYPES = (
    "benchmarks",
    "deploy",
    "evaluation",
    "experiments",
    "launch",
    "learners",
    "matrix",
    "methods",
    "programs",
    "reports",
    "runs",
    "test_examples",
    "test_notebook",
    "test_planar",
    "test_readme",
    "training",
)

# Rooms whose tests sample from distrax, which adds a location to samples of higher rank.
# Geometry adds vectors to lists of vectors.
MIXES_RANKS = ("test_distributions", "priors", "envs", "data", *MIXES_DTYPES)

# Rooms whose tests compile much and compute little, and ask for no bits that optimizing gives.
COMPILES_FAST = (
    "benchmarks",
    "deploy",
    "envs",
    "evaluation",
    "experiments",
    "learners",
    "matrix",
    "methods",
    "objectives",
    "priors",
    "runs",
    "test_examples",
    "test_notebook",
    "test_planar",
    "test_image_networks",
    "test_networks",
    "test_readme",
    "test_replay_rings",
    "training",
)

# Files that take longest, in their order: begun last, one of them would be waited for in the end.
LONGEST = (
    "experiments/test_parrot.py",
    "experiments/test_spirl.py",
    "launch/test_sweep.py",
    "experiments/test_pearl.py",
    "training/meta/test_loop.py",
    "test_examples.py",
    "experiments/test_keys.py",
    "test_readme.py",
    "experiments/test_bc_sac.py",
    "experiments/test_bad_inputs.py",
    "envs/physics/test_mjx_engine.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        keep_compiled()


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Programs that start at once, in a process that has imported what they need."""
    from tests.experiments.forks import Forks  # which imports what the lines above come before

    with contextlib.closing(Forks(tmp_path_factory.mktemp("forks"))) as server:
        yield server


def room_of(request: pytest.FixtureRequest) -> str:
    return request.path.relative_to(TESTS).parts[0].removesuffix(".py")


@pytest.fixture(scope="module", autouse=True)
def fast_compilation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Code that is compiled fast rather than fast, where that takes most of the time."""
    name, is_fast = "jax_disable_most_optimizations", room_of(request) in COMPILES_FAST
    jax.config.update(name, is_fast)
    yield
    jax.config.update(name, False)


@pytest.fixture(scope="module", autouse=True)
def strict_arrays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Implicit promotion is an error wherever the dependencies allow it.

    Module-wide, so that it also holds for fixtures that a module shares between its tests.
    """
    room = room_of(request)
    with contextlib.ExitStack() as stack:
        if room not in MIXES_DTYPES:
            stack.enter_context(jax.numpy_dtype_promotion("strict"))
        if room not in MIXES_RANKS:
            stack.enter_context(jax.numpy_rank_promotion("raise"))
        yield
