"""Insertions into and samples from a replay buffer of a million transitions, against flashbax.

A call inserts the transitions of 64 environments and samples twenty batches of 256, the buffer
donated, as in a training loop; before the buffer is full, and after. The peer is flashbax's item
buffer, which serves the same purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from behavior_priors.replay import make_replay
from benchmarks.harness import Contestant, Plan, Row, largest_difference, race, rate_row

PEERS = ("flashbax",)

CAPACITY = 1_000_000
CHUNK = 100_000
INSERTED = 64
BATCHES = (20, 256)
SHAPES = {
    "observation": (17,),
    "action": (6,),
    "reward": (),
    "terminated": (),
    "next_observation": (17,),
}

Program = Callable[[Any, Any, jax.Array], tuple[Any, Any]]
"""`(buffer, elements [n, ...], key) -> (buffer, samples [*BATCHES, ...])`."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields two rows: the buffer half full, and full."""
    equal = _check()
    for label, rows in (("half full", CAPACITY // 2), ("full", CAPACITY + CHUNK)):
        contestants = {
            "ours": _contestant(*_ours(CAPACITY), rows),
            "flashbax": _contestant(*_flashbax(CAPACITY), rows),
        }
        seconds = race(contestants, plan)
        yield rate_row(
            f"replay/{label} against flashbax",
            "calls/s",
            (1, seconds["ours"]),
            (1, seconds["flashbax"]),
            equal=equal,
            packages=("flashbax",),
        )


def _ours(capacity: int) -> tuple[Any, Program]:
    replay = make_replay(capacity)

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        buffer = replay.insert(buffer, elements, jnp.ones(len(elements["reward"]), bool))
        return buffer, replay.sample(buffer, key, BATCHES)

    return replay.init(_example()), program


def _flashbax(capacity: int) -> tuple[Any, Program]:
    import flashbax

    sampled = BATCHES[0] * BATCHES[1]
    buffer_fns = flashbax.make_item_buffer(
        max_length=capacity, min_length=1, sample_batch_size=sampled, add_batches=True
    )

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        buffer = buffer_fns.add(buffer, elements)
        samples = buffer_fns.sample(buffer, key).experience
        return buffer, jax.tree.map(lambda x: x.reshape(*BATCHES, *x.shape[1:]), samples)

    return buffer_fns.init(_example()), program


def _example() -> Any:
    return {name: jnp.zeros(shape) for name, shape in SHAPES.items()}


def _elements(start: int, count: int) -> Any:
    """Elements of which each holds its own number everywhere; exact below 2^24."""
    number = jnp.arange(start, start + count, dtype=jnp.float32)
    return {
        name: jnp.broadcast_to(number.reshape(-1, *[1] * len(shape)), (count, *shape)).copy()
        for name, shape in SHAPES.items()
    }


def _contestant(buffer: Any, program: Program, rows: int) -> Contestant:
    """A program on a buffer into which so many rows have been inserted."""
    run_donated = jax.jit(program, donate_argnums=0)
    key = jax.random.key(0)
    for start in range(0, rows, CHUNK):
        buffer, _ = run_donated(buffer, _elements(start, CHUNK), key)
    elements = _elements(rows, INSERTED)

    def run() -> None:
        nonlocal buffer, key
        buffer, samples = run_donated(buffer, elements, key)
        jax.block_until_ready((buffer, samples))

    return run


def _check() -> str:
    """Both hold the newest rows in the same order, before and after being full."""
    capacity, key = 160, jax.random.key(0)
    (ours, our_program), (peer, peer_program) = _ours(capacity), _flashbax(capacity)
    contents: tuple[list, list] = ([], [])
    for step in range(4):
        elements = _elements(step * INSERTED, INSERTED)
        ours, our_samples = jax.jit(our_program)(ours, elements, key)
        peer, peer_samples = jax.jit(peer_program)(peer, elements, key)
        contents[0].append(ours.data["next_observation"])
        contents[1].append(peer.experience["next_observation"][0])
        newest = (step + 1) * INSERTED
        held = np.arange(max(0, newest - capacity), newest)
        for samples in (our_samples, peer_samples):
            # 5120 draws leave out one of at most 160 rows with a probability below 1e-11
            if not np.array_equal(np.unique(samples["reward"]), held):
                raise ValueError(f"samples are not the {len(held)} newest rows")
    return largest_difference("contents", *contents, tolerance=0.0) + ", all rows sampled"
