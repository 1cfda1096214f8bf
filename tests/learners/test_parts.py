"""The policy that soft actor-critic and PPO have in common."""

from __future__ import annotations

from typing import Any

import chex
import jax
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.learners.parts import descend, make_adam
from behavior_priors.learners.ppo import make_ppo
from behavior_priors.learners.ppo_config import PPOConfig
from behavior_priors.learners.sac import make_sac
from behavior_priors.learners.sac_config import SACConfig
from behavior_priors.types import ActionSpec, ArraySpec

SPEC = {"position": ArraySpec((3,)), "image": ArraySpec((16, 16, 1), np.uint8)}
ACTIONS = ActionSpec(2, 1.0)
WIDTHS = (7, 5)
SAC = SACConfig(policy_widths=WIDTHS, critic_widths=(4,), critic_observation=("position",))
PPO = PPOConfig(policy_widths=WIDTHS, value_widths=(4,), value_observation=("position",))


def policy_of(make: Any, config: Any, **options: Any) -> Any:
    """A new policy, shapes only."""
    return jax.eval_shape(make(config, SPEC, ACTIONS, **options).init, jax.random.key(0)).policy


def test_both_have_the_same_policy_and_read_images_by_convolutions() -> None:
    found = policy_of(make_sac, SAC)
    chex.assert_trees_all_equal_shapes(found, policy_of(make_ppo, PPO))
    # a plain layer would have a row for each of the 256 pixels
    inputs = [x.shape[0] for x in jax.tree.leaves(found) if len(x.shape) == 2]
    assert max(inputs) < 16 * 16
    unseen = SACConfig(policy_widths=WIDTHS, policy_observation=("position",))
    assert len(jax.tree.leaves(policy_of(make_sac, unseen))) < len(jax.tree.leaves(found))


@pytest.mark.parametrize(("make", "config"), [(make_sac, SAC), (make_ppo, PPO)])
def test_an_initial_policy_of_other_widths_is_refused(make: Any, config: Any) -> None:
    other = policy_of(make_sac, SACConfig(policy_widths=(9,)))
    with pytest.raises(UserError, match="policy_widths"):
        policy_of(
            make, config, initial_policy=jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), other)
        )


def test_steps_shrink_to_a_tenth_and_stay_there() -> None:
    """A gradient that never changes moves Adam by its step size."""

    def steps(decay_updates: int | None) -> list[float]:
        adam = make_adam(0.1, decay_updates)
        place = [np.zeros(())]
        state = adam.init(place[0])
        for _ in range(7):
            moved, state = descend(adam, np.ones(()), state, place[-1])
            place.append(moved)
        return (-np.diff(place)).tolist()

    assert steps(None) == pytest.approx([0.1] * 7, rel=1e-4)
    shrinking = [0.1, 0.0775, 0.055, 0.0325, 0.01, 0.01, 0.01]
    assert steps(4) == pytest.approx(shrinking, rel=1e-4)
