from __future__ import annotations

import itertools

import mujoco
import numpy as np
import pytest

from behavior_priors.envs.manipulation import layouts, objects, scene
from behavior_priors.envs.manipulation.primitives import Primitive
from behavior_priors.errors import UserError


def shape_of(item: objects.Object) -> dict[str, np.ndarray]:
    """Boxes around the primitives by kind, in units of the object's box: blind to scaling."""
    kinds: dict[str, list[np.ndarray]] = {}
    for primitive in item.colliding:
        kind = "box" if primitive.kind == "box" else "round"
        middle = (np.array(primitive.position) - item.center) / item.half_extents
        size = objects.extent(primitive) / np.array(item.half_extents)
        kinds.setdefault(kind, []).append(np.concatenate([middle, size]))
    return {kind: np.array(rows) for kind, rows in kinds.items()}


def difference(one: objects.Object, other: objects.Object) -> float:
    """Largest deviation under the best pairing of primitives; infinite if their kinds differ."""
    a, b = shape_of(one), shape_of(other)
    if {k: len(v) for k, v in a.items()} != {k: len(v) for k, v in b.items()}:
        return np.inf
    return max(
        min(
            np.abs(a[kind] - b[kind][list(order)]).max()
            for order in itertools.permutations(range(len(a[kind])))
        )
        for kind in a
    )


def test_splits_have_the_promised_sizes_and_share_no_composition() -> None:
    by_split = {s: objects.names(s) for s in ("train", "validation", "test")}
    assert len(by_split["train"]) >= 50
    assert (len(by_split["validation"]), len(by_split["test"])) == (2, 9)
    compositions = [
        {objects.OBJECTS[name].composition for name in names} for names in by_split.values()
    ]
    assert sum(map(len, compositions)) == len(set.union(*compositions))


def test_no_test_object_is_a_training_object_at_another_scale() -> None:
    train = [objects.OBJECTS[name] for name in objects.names("train")]
    held_out = [*objects.names("validation"), *objects.names("test")]
    for name in held_out:
        assert min(difference(objects.OBJECTS[name], other) for other in train) > 0.1, name


def observed(names: tuple[str, ...]) -> np.ndarray:
    """What is observed of objects at rest `[objects, 4]`: half extents and height, in metres."""
    table = layouts.make_scenes([layouts.Layout((name,)) for name in names])
    return np.concatenate([table.half_extents[:, 0], table.rest_height[:, :1]], axis=1)


def test_five_of_nine_test_objects_lie_outside_of_what_training_objects_show() -> None:
    train, names = observed(objects.names("train")), objects.names("test")
    low, high = train.min(0), train.max(0)
    margin = 0.05 * (high - low)
    test = observed(names)
    below, above = test < low - margin, test > high + margin
    outside = {name for name, out in zip(names, (below | above).any(1), strict=True) if out}
    assert outside == {"chair", "vase", "sculpture", "bar", "dumbbell"}
    # narrower than any, and taller than any
    assert {n for n, out in zip(names, below[:, 1], strict=True) if out} == {"bar", "dumbbell"}
    assert {n for n, out in zip(names, above[:, 2], strict=True) if out} == {
        "chair",
        "vase",
        "sculpture",
    }
    inside = ~((test < low) | (test > high)).any(1)
    assert {n for n, is_in in zip(names, inside, strict=True) if is_in} == set(names) - outside


def test_validation_objects_are_unlike_the_test_objects_of_the_main_tables() -> None:
    spread = observed(objects.names("train")).std(0)
    for name, far in (("mug", 1.0), ("can", 1.0), *((n, 0.5) for n in objects.names("test"))):
        difference = np.abs(observed(objects.names("validation")) - observed((name,))) / spread
        assert difference.max(1).min() > far, name


def test_a_rescaled_object_would_be_noticed() -> None:
    mug = objects.OBJECTS["mug"]
    factor = np.array([1.3, 0.8, 1.1])
    bigger = mug._replace(
        colliding=tuple(
            p._replace(size=tuple(factor * p.size), position=tuple(factor * p.position))
            for p in mug.colliding
        ),
        half_extents=tuple(factor * mug.half_extents),
        center=tuple(factor * mug.center),
    )
    assert difference(mug, bigger) < 1e-9


def test_extent_of_a_turned_box_and_a_lying_capsule() -> None:
    eighth = (np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8))
    box = Primitive("box", (1.0, 2.0, 3.0), (0, 0, 0), eighth)
    np.testing.assert_allclose(objects.extent(box), [3 / np.sqrt(2), 3 / np.sqrt(2), 3])
    lying = Primitive("capsule", (0.5, 2.0, 0.0), (0, 0, 0), (np.sqrt(0.5), 0, np.sqrt(0.5), 0))
    np.testing.assert_allclose(objects.extent(lying), [2.5, 0.5, 0.5], atol=1e-12)


def test_every_scene_has_the_same_layout_and_few_contact_pairs() -> None:
    names = list(objects.OBJECTS)
    models = [
        scene.build_model([objects.OBJECTS[n] for n in names[i : i + 3]])
        for i in range(0, len(names) - 2, 9)
    ]
    for field in ("nq", "nv", "nu", "ngeom", "npair", "nbody", "nM"):
        assert len({getattr(m, field) for m in models}) == 1, field
    colliding = [i for i in range(models[0].ngeom) if models[0].geom_group[i] in (0, 3)]
    assert len(colliding) == 1 + 3 + 9
    types = [m.geom_type[colliding].tolist() for m in models]
    assert all(t == types[0] for t in types)
    assert models[0].npair == 3 + 9 + 27 + 27


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_objects_rest_where_they_are_placed(split: objects.Split) -> None:
    names = objects.names(split)
    for first in range(0, len(names), 3):
        slots = [names[(first + k) % len(names)] for k in range(3)]
        model = scene.build_model([objects.OBJECTS[n] for n in slots])
        data = mujoco.MjData(model)
        data.qpos[6:8] = 0.045
        for slot, name in enumerate(slots):
            start = 8 + 7 * slot
            pose = [0.34, 0.2 * (slot - 1), objects.OBJECTS[name].rest_height, 1, 0, 0, 0]
            data.qpos[start : start + 7] = pose
        before = data.qpos[8:].copy()
        mujoco.mj_step(model, data, 144)  # a second
        drift = np.abs(data.qpos[8:] - before).reshape(3, 7).max(1)
        assert drift.max() < 2e-3, dict(zip(slots, drift, strict=True))


def test_unknown_objects_are_named() -> None:
    with pytest.raises(UserError, match=r"no object is called 'spoon'; there are: block_1, "):
        objects.find("spoon")
