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
from benchmarks.harness import (
    BenchmarkError,
    Contestant,
    Plan,
    Row,
    largest_difference,
    race,
    rate_row,
)

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
"""`(buffer, elements [n, ...], key) -> (buffer, samples [*batches, ...])`."""


def measure(plan: Plan) -> Iterator[Row]:
    """Yields two rows: the buffer half full, and full."""
    equal = _check()
    for label, rows in (("half full", CAPACITY // 2), ("full", CAPACITY + CHUNK)):
        contestants = {
            "ours": _contestant(*_ours(CAPACITY, BATCHES), rows),
            "flashbax": _contestant(*_flashbax(CAPACITY, BATCHES), rows),
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


def _ours(capacity: int, batches: tuple[int, int]) -> tuple[Any, Program]:
    replay = make_replay(capacity)

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        buffer = replay.insert(buffer, elements, jnp.ones(len(elements["reward"]), bool))
        return buffer, replay.sample(buffer, key, batches)

    return replay.init(_example()), program


def _flashbax(capacity: int, batches: tuple[int, int]) -> tuple[Any, Program]:
    import flashbax

    sampled = batches[0] * batches[1]
    buffer_fns = flashbax.make_item_buffer(
        max_length=capacity, min_length=1, sample_batch_size=sampled, add_batches=True
    )

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        buffer = buffer_fns.add(buffer, elements)
        samples = buffer_fns.sample(buffer, key).experience
        return buffer, jax.tree.map(lambda x: x.reshape(*batches, *x.shape[1:]), samples)

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
    """A program on a buffer into which so many rows have been inserted.

    A buffer that was not full is taken back to so many rows before it is, which would otherwise
    happen during the race: its counters are, while what has been inserted stays.
    """
    run_donated = jax.jit(program, donate_argnums=0)
    key = jax.random.key(0)
    for start in range(0, rows, CHUNK):
        buffer, _ = run_donated(buffer, _elements(start, CHUNK), key)
    counters = jax.tree.map(lambda x: None if x.ndim else np.asarray(x), buffer)
    elements, held = _elements(rows, INSERTED), rows

    def run() -> None:
        nonlocal buffer, held
        held += INSERTED
        if rows < CAPACITY < held + CHUNK:
            buffer = jax.tree.map(
                lambda x, counter: x if counter is None else jnp.array(counter), buffer, counters
            )
            held = rows + INSERTED
        buffer, samples = run_donated(buffer, elements, key)
        jax.block_until_ready((buffer, samples))

    return run


def _check() -> str:
    """Both hold the newest rows in the same order, and sample all of them, before and when full."""
    capacity, batches = 160, (2, 64)
    keys = jax.random.split(jax.random.key(0), 40)
    (ours, our_program), (peer, peer_program) = (
        _ours(capacity, batches),
        _flashbax(capacity, batches),
    )
    # flashbax draws no more rows at once than the buffer can hold: many keys draw enough of them
    insert_and_sample = [
        jax.jit(jax.vmap(program, in_axes=(None, None, 0), out_axes=(None, 0)))
        for program in (our_program, peer_program)
    ]
    contents: tuple[list, list] = ([], [])
    for step in range(4):
        elements = _elements(step * INSERTED, INSERTED)
        ours, our_samples = insert_and_sample[0](ours, elements, keys)
        peer, peer_samples = insert_and_sample[1](peer, elements, keys)
        contents[0].append(ours.data["next_observation"])
        contents[1].append(peer.experience["next_observation"][0])
        newest = (step + 1) * INSERTED
        held = np.arange(max(0, newest - capacity), newest)
        for samples in (our_samples, peer_samples):
            # 5120 draws leave out one of at most 160 rows with a probability below 1e-11
            if not np.array_equal(np.unique(samples["reward"]), held):
                raise BenchmarkError(f"samples are not the {len(held)} newest rows")
    return largest_difference("contents", *contents, tolerance=0.0) + ", all rows sampled"
