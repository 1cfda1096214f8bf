"""A policy where it is used: observations in, actions out, in NumPy and the environment's units.

    from policy import load

    policy = load("my_policy")            # the folder that this file lies in
    action = policy(observation)          # at each step
    policy.reset()                        # between two episodes

This file needs jax and numpy alone: `experiments.export` puts a copy of it beside each policy.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

FACTS_FILE = "policy.json"
WEIGHTS_FILE = "weights.safetensors"
PROGRAM_FILE = "policy.stablehlo"

FORMAT = 1
"""Of `policy.json`; a file of a later one is refused."""

UNNAMED = "observation"
"""What an observation is called that is one array without a name."""

_MOST_JSON = 1 << 20
_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

StepFn = Callable[..., tuple[Any, list[Any]]]
"""`(weights, memory, observation, reward, first, last) -> (action, memory)`; weights and memory are
lists of arrays, the observation has arrays by name, `first` and `last` say where in its episode a
step is."""


class _Part(NamedTuple):
    """One array of an observation: how it is given, and how the policy takes it."""

    name: str
    path: tuple[str | int, ...]
    given: tuple[int, ...]
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype


class Policy:
    """A policy with its memory: of the skill under way, of past steps, of the task it is in.

    Attributes:
      facts: all that is known of it, as in `policy.json`.
      name: of its method.
      environment: in which it was learned.
      observation: shapes of the arrays that it is given, by name.
      action_shape: of an action.
      episode_length: steps of an episode where it was learned.
      needs_reward: it tells tasks apart by rewards, and wants that of the step before.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        step: StepFn,
        weights: Sequence[Any],
        memory: Sequence[np.ndarray],
    ) -> None:
        """Compiles a policy for this machine.

        Args:
          facts: as in `policy.json`.
          step: a function of JAX's.
          weights: its first argument.
          memory: its second argument, where nothing is remembered.
        """
        self.facts = dict(facts)
        self.name, self.environment = facts["name"], facts["environment"]
        self.episode_length: int = facts["episode_length"]
        self.needs_reward: bool = facts["needs_reward"]
        self._parts = [_read_part(name, part) for name, part in facts["observation"].items()]
        self.observation = {part.name: part.given for part in self._parts}
        action = facts["action"]
        self.action_shape = tuple(action["shape"])
        self._action_dtype = np.dtype(action["dtype"])
        low, high = (np.asarray(action[x], np.float64) for x in ("low", "high"))
        self._low, self._high = low, high
        self._middle, self._half = 0.5 * (low + high), 0.5 * (high - low)
        self._blank = [np.asarray(x) for x in memory]
        self._weights = [jax.device_put(x) for x in weights]
        shapes = step_shapes(facts, self._weights, self._blank)
        self._step = jax.jit(step).lower(*shapes).compile()
        self.new_task()

    def __call__(self, observation: Any, reward: float | None = None) -> np.ndarray:
        """The action at one step of an episode.

        Args:
          observation: as the environment gives it: arrays by name, nested or not, or one array.
          reward: of the step before, for a policy that `needs_reward`; not of an episode's first.

        Returns:
          `[*action_shape]`, in the environment's units and within its bounds.

        Raises:
          ValueError: an array is missing, of another shape, or has numbers that are not finite; or
            the reward is missing.
        """
        if self.needs_reward and reward is None and not self._first:
            raise ValueError("this policy infers its task: give policy(observation, reward)")
        chosen = self._advance(observation, reward, last=False)
        action = np.minimum(np.maximum(self._middle + self._half * chosen, self._low), self._high)
        return action.astype(self._action_dtype).reshape(self.action_shape)

    def end(self, observation: Any, reward: float) -> None:
        """Tells what an episode's last action led to, and ends it.

        A policy that infers its task learns from it; for others this is `reset`.
        """
        if not self._first:
            self._advance(observation, reward, last=True)
        self.reset()

    def reset(self) -> None:
        """Begins an episode: of the last one nothing is kept but what it told of the task."""
        self._first = True

    def new_task(self) -> None:
        """Begins the first episode of a task of which nothing is known."""
        self._memory: Any = self._blank
        self.reset()

    def _advance(self, observation: Any, reward: float | None, *, last: bool) -> np.ndarray:
        seen = {part.name: _take(part, observation) for part in self._parts}
        earned = np.float32(0.0 if reward is None else reward)
        if not math.isfinite(earned):
            raise ValueError(f"the reward is {reward}")
        first, last_ = np.bool_(self._first), np.bool_(last)
        action, memory = self._step(self._weights, self._memory, seen, earned, first, last_)
        chosen = np.asarray(action, np.float64)
        if not np.isfinite(chosen).all():
            raise ValueError(f"the policy gave {chosen}, which is no action")
        self._memory, self._first = memory, False
        return chosen


def load(folder: str | Path = Path(__file__).parent) -> Policy:
    """The policy in a folder that `experiments.export` has written.

    It is a program of its maker's: load what you trust. It computes and nothing else: one that
    would call other code on this machine is refused.

    Raises:
      ValueError: the folder holds no policy, or a damaged one, or one for another kind of device.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    arrays = read_safetensors(folder / WEIGHTS_FILE)
    path = folder / PROGRAM_FILE
    try:
        module = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    try:
        platforms = tuple(facts["program"]["platforms"])
        if jax.default_backend() not in map(platform_name, platforms):
            there = ", ".join(platforms)
            raise ValueError(f"{folder} is a policy for {there}, not for {jax.default_backend()}")
        weights, memory = ([arrays[x] for x in facts[kind]] for kind in ("weights", "memory"))
        program = _as_program(facts, module, weights, memory)
        check_program(program.mlir_module(), path)
        return Policy(facts, program.call, weights, memory)
    except ValueError:
        raise
    except Exception as error:  # whatever JAX makes of it
        said = " ".join(repr(error).split())[:200]
        raise ValueError(
            f"{folder} holds no whole policy, or one that a newer jax has made: {said}"
        ) from None


def step_shapes(
    facts: Mapping[str, Any], weights: Sequence[Any], memory: Sequence[Any]
) -> tuple[Any, ...]:
    """Shapes of the arguments of a `StepFn`."""
    observation = {
        name: jax.ShapeDtypeStruct(tuple(part["shape"]), np.dtype(part["dtype"]))
        for name, part in facts["observation"].items()
    }
    number, flag = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((), np.bool_)
    arrays = [[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in part] for part in (weights, memory)]
    return (*arrays, observation, number, flag, flag)


def _as_program(
    facts: Mapping[str, Any], module: bytes, weights: Sequence[Any], memory: Sequence[Any]
) -> Any:
    """A module of StableHLO as what JAX calls exported.

    `jax.export.deserialize` needs a package that a robot may not have, and reads shapes beside the
    module: here those are had by exporting a function that does nothing.
    """
    from jax import export

    size = facts["action"]["size"]

    def nothing(weights: Any, memory: Any, *_: Any) -> Any:
        return jax.numpy.zeros(size, np.float32), memory

    said = facts["program"]
    own = export.export(jax.jit(nothing), platforms=tuple(said["platforms"]))
    shell = own(*step_shapes(facts, weights, memory))
    return dataclasses.replace(
        shell,
        mlir_module_serialized=module,
        calling_convention_version=int(said["calling_convention_version"]),
        module_kept_var_idx=tuple(said["kept_arguments"]),
        uses_global_constants=bool(said["uses_global_constants"]),
    )


def platform_name(platform: str) -> str:
    """What `jax.default_backend` calls a platform of a program."""
    return "gpu" if platform in ("cuda", "rocm") else platform


def check_program(text: str, path: Path) -> None:
    """Refuses a program that calls what is not part of it.

    Raises:
      ValueError: it does.
    """
    if called := re.search(r"stablehlo\.custom_call\s*@?\"?([\w.]+)", text):
        raise ValueError(f"{path} calls {called[1]}, which is no part of it; it is not run")


def read_facts(folder: Path) -> dict[str, Any]:
    """What `policy.json` says.

    Raises:
      ValueError: there is none, or it is none of ours.
    """
    path = folder / FACTS_FILE
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_JSON + 1)
        facts = json.loads(text) if len(text) <= _MOST_JSON else None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise ValueError(f"{path} does not describe a policy")
    if facts["format"] > FORMAT:
        raise ValueError(f"{path} is of format {facts['format']}; this reader knows {FORMAT}")
    return facts


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, in the format of safetensors.

    Raises:
      ValueError: it cannot be read, is damaged, or has numbers of a kind that NumPy has not.
    """
    try:
        return parse_safetensors(path.read_bytes(), path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def parse_safetensors(data: bytes, path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, of bytes that stand in a file; see `read_safetensors`."""
    try:
        (size,) = struct.unpack("<Q", data[:8])
        if size > len(data) - 8:
            raise ValueError("cut off")
        header, begin = json.loads(data[8 : 8 + size]), 8 + size
        header.pop("__metadata__", None)
        arrays = {}
        for name, entry in header.items():
            dtype, shape = np.dtype(_DTYPES[entry["dtype"]]), [int(n) for n in entry["shape"]]
            start, stop = entry["data_offsets"]
            if min(shape, default=0) < 0 or not 0 <= start <= stop <= len(data) - begin:
                raise ValueError(f"{name} lies outside of it")
            if stop - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} has another size")
            flat = np.frombuffer(data, dtype, math.prod(shape), begin + start)
            arrays[name] = flat.reshape(shape)
        return arrays
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
        raise ValueError(f"{path} is no whole file of safetensors: {error}") from None


def safetensors_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name, in the format of safetensors."""
    header, parts, size = {}, [], 0
    for name, array in arrays.items():
        part = np.ascontiguousarray(array).tobytes()
        dtype = _NAMES[array.dtype]
        offsets = [size, size + len(part)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        parts.append(part)
        size += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def _read_part(name: str, facts: Mapping[str, Any]) -> _Part:
    given, axes, shape = (tuple(facts[x]) for x in ("given", "axes", "shape"))
    return _Part(name, tuple(facts["path"]), given, axes, shape, np.dtype(facts["dtype"]))


def _take(part: _Part, observation: Any) -> np.ndarray:
    """One array of an observation, as the policy takes it."""
    array = np.asarray(_find(part, observation))
    if array.shape == part.given:
        if part.axes != tuple(range(len(part.axes))) or part.given != part.shape:
            array = array.transpose(part.axes).reshape(part.shape)
    elif array.shape != part.shape:
        raise ValueError(
            f"observation {part.name} has the shape {array.shape}; it should be {part.given}"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(f"observation {part.name} is of {array.dtype}; it should be numbers")
    if part.dtype == np.uint8 and array.dtype != np.uint8:
        raise ValueError(f"observation {part.name} is of {array.dtype}; it should be uint8")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"observation {part.name} has a number that is not finite")
    return array.astype(part.dtype, copy=False)


def _find(part: _Part, observation: Any) -> Any:
    if isinstance(observation, Mapping) and part.name in observation:
        return observation[part.name]
    if not isinstance(observation, Mapping | tuple | list) and part.name == UNNAMED:
        return observation
    try:
        for key in part.path:
            observation = observation[key]
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"observation {part.name} is missing") from None
    return observation
