"""Insertions into and samples from a replay buffer of a million transitions, against flashbax.

A call inserts the transitions of 64 environments and samples twenty batches of 256, the buffer
donated, as in a training loop; before the buffer is full, and after. The peer is flashbax's item
buffer, which serves the same purpose; and its trajectory buffer where sequences are drawn.
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
CHUNK = 64_000
INSERTED = 64
BATCHES = (20, 256)
LENGTH = 10
"""Steps of a sequence; a tenth as many of them are drawn."""

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
    """Yields four rows: the buffer half full, and full; transitions, and sequences."""
    equal, sequences = _check(), (BATCHES[0], BATCHES[1] // LENGTH)
    of_sequences = _check_sequences()
    for label, rows in (("half full", CAPACITY // 2), ("full", CAPACITY + CHUNK)):
        for what, ours, peer, checked in (
            ("", _ours(CAPACITY, BATCHES), _flashbax(CAPACITY, BATCHES), equal),
            (
                "sequences ",
                _ours(CAPACITY, sequences, LENGTH),
                _flashbax_sequences(CAPACITY, sequences, LENGTH),
                of_sequences,
            ),
        ):
            contestants = {"ours": _contestant(*ours, rows), "flashbax": _contestant(*peer, rows)}
            seconds = race(contestants, plan)
            yield rate_row(
                f"replay/{what}{label} against flashbax",
                "calls/s",
                (1, seconds["ours"]),
                (1, seconds["flashbax"]),
                equal=checked,
                packages=("flashbax",),
            )


def _by_environment(elements: Any) -> Any:
    """Elements `[n * 64, ...]`, those of one step after those of another, as `[64, n, ...]`."""
    return jax.tree.map(
        lambda x: jnp.swapaxes(x.reshape(-1, INSERTED, *x.shape[1:]), 0, 1), elements
    )


def _ours(capacity: int, batches: tuple[int, int], length: int = 0) -> tuple[Any, Program]:
    """Sequences of that length, or single transitions."""
    replay = make_replay(INSERTED, capacity // INSERTED)

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        rows = _by_environment(elements)
        valid = jnp.ones(rows["reward"].shape, bool)
        buffer = replay.insert(buffer, jnp.arange(INSERTED), rows, valid)
        if length:
            return buffer, replay.sample_sequences(buffer, key, batches, length)
        return buffer, replay.sample(buffer, key, batches)

    return replay.init(_example()), program


def _flashbax_sequences(
    capacity: int, batches: tuple[int, int], length: int
) -> tuple[Any, Program]:
    import flashbax

    buffer_fns = flashbax.make_trajectory_buffer(
        add_batch_size=INSERTED,
        sample_batch_size=batches[0] * batches[1],
        sample_sequence_length=length,
        period=1,
        min_length_time_axis=length,
        max_length_time_axis=capacity // INSERTED,
    )

    def program(buffer: Any, elements: Any, key: jax.Array) -> tuple[Any, Any]:
        buffer = buffer_fns.add(buffer, _by_environment(elements))
        samples = buffer_fns.sample(buffer, key).experience
        return buffer, jax.tree.map(lambda x: x.reshape(*batches, *x.shape[1:]), samples)

    return buffer_fns.init(_example()), program


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
    counters = jax.tree.map(lambda x: np.asarray(x) if x.size <= INSERTED else None, buffer)
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
    capacity, batches = 3 * INSERTED, (2, 64)
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
        rows = jnp.swapaxes(ours.data["next_observation"], 0, 1)
        contents[0].append(rows.reshape(capacity, -1))
        contents[1].append(peer.experience["next_observation"][0])
        newest = (step + 1) * INSERTED
        held = np.arange(max(0, newest - capacity), newest)
        for samples in (our_samples, peer_samples):
            # 5120 draws leave out one of at most 192 rows with a probability below 1e-11
            if not np.array_equal(np.unique(samples["reward"]), held):
                raise BenchmarkError(f"samples are not the {len(held)} newest rows")
    return largest_difference("contents", *contents, tolerance=0.0) + ", all rows sampled"


def _check_sequences() -> str:
    """Both draw what follows each other in an environment, of the newest rows, and all of it."""
    capacity, batches, length = 5 * INSERTED, (40, 128), 3
    ours, our_program = _ours(capacity, batches, length)
    peer, peer_program = _flashbax_sequences(capacity, batches, length)
    for step in range(7):
        elements, key = _elements(step * INSERTED, INSERTED), jax.random.key(step)
        ours, our_samples = jax.jit(our_program)(ours, elements, key)
        peer, peer_samples = jax.jit(peer_program)(peer, elements, key)
    begins = np.arange(2 * INSERTED, 5 * INSERTED)  # five steps are held, three of them a sequence
    for samples in (our_samples, peer_samples):
        drawn = np.asarray(samples["reward"]).reshape(-1, length)
        if not np.array_equal(np.diff(drawn, axis=1), np.full((len(drawn), 2), INSERTED)):
            raise BenchmarkError("sequences are not steps that follow each other")
        if not np.array_equal(np.unique(drawn[:, 0]), begins):
            raise BenchmarkError("sequences do not begin wherever they can")
    return "sequences of the newest rows, all of them drawn"
