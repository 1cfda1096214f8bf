from __future__ import annotations

import jax
import pytest

from behavior_priors.config.checks import check_precision
from behavior_priors.envs import probes
from behavior_priors.envs.registry import make_env
from behavior_priors.errors import UserError
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.training.fit import FitConfig, make_fit
from behavior_priors.training.loop import LoopConfig, make_loop


def test_64_bits_are_refused_by_whatever_is_made_of_several_parts() -> None:
    env = probes.observed_reward().env
    learner = make_sac(SACConfig(), env.observation_spec, env.action_spec)
    makers = [
        check_precision,
        lambda: make_env("point/dense"),
        lambda: make_fit(None, FitConfig()),  # type: ignore[arg-type]
        lambda: make_loop(env, learner, LoopConfig()),
    ]
    with jax.enable_x64(True):
        for make in makers:
            with pytest.raises(UserError, match=r"64-bit mode is on .* jax\.enable_x64\(False\)"):
                make()
        with jax.enable_x64(False):
            check_precision()
