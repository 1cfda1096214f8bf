from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs import probes
from behavior_priors.envs.base import step_and_reset
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.system import memory
from behavior_priors.types import ArraySpec


@pytest.mark.parametrize("name", ["point/dense", "maze/test"])
def test_a_transition_takes_what_replay_stores_of_it(name: str) -> None:
    env = make_env(name)
    state = jax.eval_shape(env.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((env.action_spec.size,), jnp.float32)
    stored = jax.eval_shape(lambda s, a: step_and_reset(env, s, a)[1], state, action)
    expected = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(stored))
    assert memory.transition_bytes(env) == expected


def test_what_has_no_room_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"image": ArraySpec((10, 10, 3), np.uint8)}
    env = probes.observed_reward().env._replace(observation_spec=image)
    each = 2 * 300 + 4 * (1 + env.action_spec.size) + 3
    monkeypatch.setattr(memory, "device_bytes", lambda: 1_000 * each)
    memory.check_room(env, {"replay_capacity": 1_000})
    with pytest.raises(UserError, match=r"^batch_size should be smaller: 1001 transitions .* GB"):
        memory.check_room(env, {"replay_capacity": 1_000, "batch_size": 1_001})


def test_memory_is_that_of_this_machine() -> None:
    assert 1e8 < memory.device_bytes() < 1e16
