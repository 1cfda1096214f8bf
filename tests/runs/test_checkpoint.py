from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from behavior_priors.errors import UserError
from behavior_priors.runs import checkpoint
from behavior_priors.runs.checkpoint import Checkpointer

ROOT = Path(checkpoint.__file__).parents[2]


class Pair(NamedTuple):
    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Learner:
    policy: Any
    optimizer: Any
    key: Any
    step: Any


def make_state(seed: int = 0, width: int = 4) -> dict[str, Any]:
    """Everything that a run may hold: all leaf types, containers, and empty things."""
    key = jax.random.key(seed)
    policy = {"kernel": jax.random.normal(key, (3, width)), "bias": jnp.zeros(width)}
    return {
        "learner": Learner(policy, optax.adam(1e-3).init(policy), key, jnp.int32(seed)),
        "buffer": Pair(
            jnp.arange(6, dtype=jnp.uint8).reshape(2, 3) + seed, jnp.array([True, False])
        ),
        "environment": {
            "keys": jax.random.split(jax.random.key(seed + 1, impl="rbg"), 5),
            "row": jax.random.normal(key, (5, 7), jnp.bfloat16),
            "nothing": jnp.zeros((0, 3)),
            "none": None,
        },
        "odd": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-42], jnp.float32),
    }


def to_bytes(leaf: jax.Array) -> bytes:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def assert_identical(actual: Any, expected: Any) -> None:
    def compare(a: jax.Array, b: jax.Array) -> None:
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert to_bytes(a) == to_bytes(b)

    jax.tree.map(compare, actual, expected)  # raises where the structures differ


def restore(directory: Path) -> tuple[int, float]:
    restored = Checkpointer(directory).restore_latest({"a": jnp.zeros(1000)})
    assert restored is not None
    assert np.all(restored.state["a"] == restored.state["a"][0])
    return restored.step, float(restored.state["a"][0])


def save(directory: Path, step: int, value: float | None = None) -> None:
    Checkpointer(directory).save(step, {"a": jnp.full(1000, float(value or step))})


def newest(directory: Path) -> Path:
    return max(directory.iterdir())


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_comes_back_bit_for_bit(tmp_path: Path, abstract: bool) -> None:
    state, metadata = make_state(3), {"seconds": {"train": 0.1 + 0.2}, "names": ["a"], "best": None}
    Checkpointer(tmp_path / "new").save(12, state, metadata)
    target = jax.eval_shape(make_state) if abstract else make_state(0)
    restored = Checkpointer(tmp_path / "new").restore_latest(target)
    assert restored is not None
    assert (restored.step, restored.metadata) == (12, metadata)
    assert_identical(restored.state, state)


def test_arrays_go_where_the_target_says(tmp_path: Path) -> None:
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    split = NamedSharding(mesh, PartitionSpec("data"))
    state = {"rows": jnp.arange(8.0), "scale": jnp.float32(2.0)}
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state)
    one = state["rows"].sharding
    target = {
        "rows": jax.ShapeDtypeStruct((8,), jnp.float32, sharding=split),
        "scale": jax.ShapeDtypeStruct((), jnp.float32, sharding=one),
    }
    restored = checkpointer.restore_latest(target)
    assert restored is not None
    assert restored.state["rows"].sharding == split
    assert restored.state["scale"].sharding == one
    assert_identical(restored.state, state)

    checkpointer.save(2, restored.state)
    together = checkpointer.restore_latest(state)
    assert together is not None
    assert together.state["rows"].sharding == one
    assert_identical(together.state, state)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 20, 100):
        save(tmp_path, step)
    assert Checkpointer(tmp_path).steps() == [20, 100]
    assert restore(tmp_path) == (100, 100.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000000020", "0000000100"]


def test_a_step_may_be_saved_again_and_later_ones_go(tmp_path: Path) -> None:
    for step, value in [(10, 1.0), (20, 2.0), (10, 3.0)]:
        save(tmp_path, step, value)
    assert Checkpointer(tmp_path).steps() == [10]
    assert restore(tmp_path) == (10, 3.0)


def test_only_what_a_save_left_is_cleared_away(tmp_path: Path) -> None:
    for name in (".0000000007.tmp", ".0000000006.old.tmp", ".notes.tmp", ".7.tmp"):
        (tmp_path / name).mkdir()
    save(tmp_path, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".7.tmp",
        ".notes.tmp",
        "0000000010",
    ]


@pytest.mark.parametrize("exists", [False, True])
def test_nothing_saved_yet(tmp_path: Path, exists: bool) -> None:
    directory = tmp_path / "checkpoints"
    if exists:
        directory.mkdir()
    checkpointer = Checkpointer(directory)
    assert checkpointer.steps() == []
    assert checkpointer.restore_latest(make_state()) is None
    assert directory.exists() == exists
    with pytest.raises(UserError, match="holds no checkpoint"):
        checkpointer.restore_part("learner.policy", {})


def test_a_part_is_restored_alone(tmp_path: Path) -> None:
    state = make_state(4)
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(7, state, {"a": 1})
    policy = checkpointer.restore_part("learner.policy", make_state()["learner"].policy)
    assert (policy.step, policy.metadata) == (7, {"a": 1})
    assert_identical(policy.state, state["learner"].policy)
    key = checkpointer.restore_part("learner.key", jax.eval_shape(lambda: jax.random.key(0)))
    assert_identical(key.state, state["learner"].key)


def test_other_settings_are_named_in_one_line(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(7, make_state(width=4))
    other = make_state(width=8)
    with pytest.raises(UserError) as error:
        checkpointer.restore_part("learner.policy", other["learner"].policy)
    assert str(error.value) == (
        f"checkpoint {tmp_path}/0000000007 belongs to other settings: "
        "learner.policy.bias is float32[4] there and float32[8] here, "
        "learner.policy.kernel is float32[3,4] there and float32[3,8] here; "
        "use the flags that it was made with, or another --workdir"
    )
    with pytest.raises(UserError, match=r"belongs to other settings: learner\.optimizer"):
        checkpointer.restore_latest(other)
    with pytest.raises(UserError, match=r"extra is absent there and int32\[\] here"):
        checkpointer.restore_latest({**make_state(), "extra": jnp.int32(0)})
    with pytest.raises(UserError, match=r"odd is float32\[4\] there and absent here"):
        checkpointer.restore_latest({k: v for k, v in make_state().items() if k != "odd"})
    with pytest.raises(UserError, match=r"actor is absent there"):
        checkpointer.restore_part("actor", jnp.zeros(1))


def test_leaves_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"learner\.step is int"):
        Checkpointer(tmp_path).save(1, {"learner": {"step": 3}})
    with pytest.raises(ValueError, match=r"two leaves are called a\.b"):
        Checkpointer(tmp_path).save(1, {"a": {"b": jnp.zeros(1)}, "a.b": jnp.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_pickled(tmp_path: Path) -> None:
    Checkpointer(tmp_path).save(1, make_state())
    description = json.loads((newest(tmp_path) / "metadata.json").read_text())
    assert description["leaves"]["learner.key"] == "key<fry>[]"
    for path in tmp_path.rglob("*"):
        assert not (path.is_file() and path.read_bytes().startswith((b"\x80\x04", b"\x80\x05")))


@pytest.mark.parametrize("saved", [(2, 3, 4), (2, 1, 4), (2, 5, 4)])
def test_a_growing_part_may_be_shorter_along_its_second_axis(
    tmp_path: Path, saved: tuple[int, ...]
) -> None:
    rows = jnp.arange(np.prod(saved), dtype=jnp.float32).reshape(saved)
    Checkpointer(tmp_path).save(1, {"rows": rows, "other": jnp.zeros((2, 5))})
    target = {"rows": jnp.zeros((2, 5, 4)), "other": jnp.zeros((2, 5))}
    restored = Checkpointer(tmp_path).restore_latest(target, growing="rows")
    assert restored is not None
    assert np.array_equal(restored.state["rows"], rows)


@pytest.mark.parametrize(
    "saved",
    [
        jnp.zeros((2, 6, 4)),
        jnp.zeros((3, 4, 4)),
        jnp.zeros((2, 4, 3)),
        jnp.zeros((2, 0, 4)),
        jnp.zeros((2, 4)),
        jnp.zeros((2, 4, 4), jnp.int32),
    ],
)
def test_a_growing_part_differs_in_nothing_else(tmp_path: Path, saved: jax.Array) -> None:
    Checkpointer(tmp_path).save(1, {"rows": saved, "other": jnp.zeros(1)})
    target = {"rows": jnp.zeros((2, 5, 4)), "other": jnp.zeros(1)}
    with pytest.raises(UserError, match="belongs to other settings: rows is"):
        Checkpointer(tmp_path).restore_latest(target, growing="rows")
    Checkpointer(tmp_path).save(2, {"rows": jnp.zeros((2, 4, 4)), "other": jnp.zeros(1)})
    with pytest.raises(UserError, match="belongs to other settings: rows is"):
        Checkpointer(tmp_path).restore_latest(target, growing="lines")
