"""Observations in, actions out: units, images, memory, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors import policy as module
from behavior_priors.policy import Policy, parse_safetensors, read_safetensors, safetensors_bytes

X = {"path": ["x"], "given": [2], "axes": [0], "shape": [2], "dtype": "float32"}


def facts(**changes: Any) -> dict[str, Any]:
    """A policy's description, of an environment with one observation and two actions."""
    action = {
        "size": 2,
        "low": [-1.0, -0.5],
        "high": [3.0, 0.5],
        "shape": [2],
        "dtype": "float32",
    }
    known = {
        "format": 1,
        "name": "parrot",
        "environment": "gym/Mine-v0",
        "episode_length": 5,
        "needs_reward": False,
        "observation": {"x": X},
        "action": action,
    }
    return {**known, **changes}


def echo(weights: Any, memory: Any, observation: Any, *_: Any) -> Any:
    """A policy whose action is what it sees."""
    return observation["x"] * weights[0], memory


def make(step: Any = echo, memory: Any = (), **changes: Any) -> Policy:
    return Policy(facts(**changes), step, [np.float32(1.0)], list(memory))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([0.0, 0.0], [1.0, 0.0]),
        ([-1.0, 1.0], [-1.0, 0.5]),
        ([0.5, -0.5], [2.0, -0.25]),
        # as the environment's own limits do it
        ([7.0, -7.0], [3.0, -0.5]),
    ],
)
def test_actions_are_in_the_environments_units(seen: list[float], expected: list[float]) -> None:
    action = make()({"x": np.array(seen)})
    assert action.dtype == np.float32
    np.testing.assert_array_equal(action, np.array(expected, np.float32))


def test_an_action_has_the_environments_shape() -> None:
    action = {**facts()["action"], "shape": [1, 2], "dtype": "float64"}
    chosen = make(action=action)({"x": np.zeros(2)})
    assert chosen.shape == (1, 2)
    assert chosen.dtype == np.float64


def test_observations_may_be_nested_flat_or_one_array() -> None:
    nested = make(observation={"arm.pos": {**X, "path": ["arm", "pos"]}}, step=_sees("arm.pos"))
    for given in ({"arm": {"pos": [0.5, 0.0]}}, {"arm.pos": np.array([0.5, 0.0])}):
        assert nested(given)[0] == 2.0
    pair = make(observation={"1": {**X, "path": [1]}}, step=_sees("1"))
    assert pair((np.zeros(3), np.array([0.5, 0.0])))[0] == 2.0
    unnamed = make(observation={"observation": {**X, "path": []}}, step=_sees("observation"))
    for given in (np.array([0.5, 0.0]), {"observation": [0.5, 0.0]}):
        assert unnamed(given)[0] == 2.0


def test_images_are_brought_to_channels_last() -> None:
    part = {"path": ["view"], "given": [3, 8, 9], "axes": [1, 2, 0], "shape": [8, 9, 3]}

    def step(weights: Any, memory: Any, observation: Any, *_: Any) -> Any:
        return observation["view"][2, 5, :2].astype("float32") / 255.0, memory

    policy = make(step, observation={"view": {**part, "dtype": "uint8"}})
    image = np.zeros((3, 8, 9), np.uint8)
    image[0, 2, 5], image[1, 2, 5] = 255, 51
    seen = [policy({"view": given}) for given in (image, image.transpose(1, 2, 0))]
    np.testing.assert_allclose(seen, [[3.0, 0.1]] * 2, rtol=1e-6)
    with pytest.raises(ValueError, match="view is of float64; it should be uint8"):
        policy({"view": image / 255.0})


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        ({}, "observation x is missing"),
        ({"x": np.zeros(3)}, r"x has the shape \(3,\); it should be \(2,\)"),
        ({"x": [np.nan, 0.0]}, "x has a number that is not finite"),
        ({"x": ["a", "b"]}, "x is of <U1; it should be numbers"),
        (None, "observation x is missing"),
    ],
)
def test_what_is_no_observation_is_refused(observation: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()(observation)


def test_no_action_that_is_not_finite_leaves() -> None:
    policy = make(lambda weights, memory, observation, *_: (observation["x"] / 0.0, memory))
    with pytest.raises(ValueError, match="which is no action"):
        policy({"x": [1.0, 1.0]})


def counting(
    weights: Any, memory: Any, observation: Any, reward: Any, first: Any, last: Any
) -> Any:
    """Remembers steps since the beginning, rewards, and episodes that it was told the end of."""
    steps, total, ended = memory
    steps = (1 - first) * steps + 1.0
    total = total + reward * (1 - first)
    return np.float32(0.1) * steps * weights[0] + 0.0 * observation["x"], [
        steps,
        total,
        ended + last,
    ]


def _sees(name: str) -> Any:
    return lambda weights, memory, observation, *_: (observation[name], memory)


def test_it_remembers_within_an_episode_and_within_a_task() -> None:
    one = {**facts()["action"], "low": [-1.0, -1.0], "high": [1.0, 1.0]}
    policy = make(counting, [np.float32(0.0)] * 3, action=one, needs_reward=True)
    see = {"x": np.zeros(2)}
    steps = [policy(see)[0], policy(see, 1.0)[0], policy(see, 2.0)[0]]
    np.testing.assert_allclose(steps, [0.1, 0.2, 0.3], rtol=1e-6)
    policy.end(see, 4.0)
    assert policy(see)[0] == np.float32(0.1)
    np.testing.assert_array_equal([float(x) for x in policy._memory], [1.0, 7.0, 1.0])
    policy.reset()
    assert policy(see)[0] == np.float32(0.1)
    policy.new_task()
    policy(see)
    np.testing.assert_array_equal([float(x) for x in policy._memory], [1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match=r"give policy\(observation, reward\)"):
        policy(see)
    with pytest.raises(ValueError, match="the reward is nan"):
        policy(see, float("nan"))


def test_safetensors_come_back(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "key": np.array([1, 2], np.uint32),
        "flag": np.array(True),
        "none": np.zeros((0, 2), np.float32),
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors_bytes(arrays))
    back = read_safetensors(path)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_safetensors_are_those_of_the_format() -> None:
    """By hand: eight bytes of the header's length, the header, the numbers."""
    header = b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"a":"b"}}'
    data = len(header).to_bytes(8, "little") + header + np.array([1.5, -2.0], "<f4").tobytes()
    np.testing.assert_array_equal(parse_safetensors(data, Path("w"))["w"], [1.5, -2.0])


@pytest.mark.parametrize(
    "header",
    [
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}}',
        '{"w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
        '{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"object","shape":[2],"data_offsets":[0,8]}}',
        '{"w":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,8]}}',
        '{"w":3}',
        "[]",
        "[" * 100_000,
    ],
)
def test_damaged_safetensors_are_refused_in_a_line(header: str) -> None:
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(8)
    with pytest.raises(ValueError, match="is no whole file of safetensors"):
        parse_safetensors(data, Path("w"))
    with pytest.raises(ValueError, match="is no whole file of safetensors"):
        parse_safetensors(data[:5], Path("w"))


def test_the_module_needs_jax_and_numpy_alone() -> None:
    """Whatever else it imports comes with Python."""
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import policy;"
        "print(json.dumps(sorted({x.partition('.')[0] for x in sys.modules})))"
    )
    folder = str(Path(module.__file__).parent)
    out = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    ).stdout
    without = subprocess.run(
        [sys.executable, "-c", code.replace("import policy", "import jax, numpy"), folder],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    extra = set(json.loads(out)) - set(json.loads(without)) - {"policy"}
    assert extra <= sys.stdlib_module_names


def test_a_program_that_calls_other_code_is_not_run() -> None:
    import jax

    def spies(x: Any) -> Any:
        return jax.pure_callback(lambda y: y, jax.ShapeDtypeStruct((), np.float32), x)

    text = jax.jit(spies).lower(np.float32(1.0)).as_text()
    with pytest.raises(ValueError, match=r"mine calls .*callback.*, which is no part of it"):
        module.check_program(text, Path("mine"))
    module.check_program(jax.jit(lambda x: x + 1).lower(np.float32(1.0)).as_text(), Path("mine"))
