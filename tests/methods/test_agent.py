"""Methods put together: any model, any learner, and combinations that make no sense."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.errors import UserError
from behavior_priors.history import HISTORY
from behavior_priors.methods.agent import Agent, build
from behavior_priors.methods.models import untrained
from behavior_priors.methods.plan import stages_of
from behavior_priors.methods.presets import RUN
from behavior_priors.methods.settings import chosen_methods
from behavior_priors.methods.tasks import task_env
from tests.experiments.settings import config_of

SMALL = (
    "--env=maze/test?distance=3",
    "--sac.policy_widths=8",
    "--sac.critic_widths=8",
)


def agent(*arguments: str) -> Agent:
    """The one method of a command line, with untrained models."""
    learner = () if any("learner=" in x for x in arguments) else SMALL[1:]
    config = config_of(RUN, SMALL[0], *learner, *arguments)
    env, methods = task_env(config), chosen_methods(config)
    fitted = {name: untrained(x) for name, x in stages_of(methods, config, env).items()}
    ((name, method),) = methods.items()
    return build(name, method, config, env, fitted)


@pytest.mark.parametrize(
    ("arguments", "size", "bound"),
    [
        (("--methods=sac",), 2, 1.0),
        (("--methods=parrot", "--real_nvp.squash=true"), 2, None),
        (("--methods=parrot", "--parrot.latents.bound=1.5"), 2, 1.5),
        (("--methods=own", "--through=gaussian"), 2, None),
        (("--methods=ssp", "--skill_vae.latent_size=3"), 3, 2.0),
        (("--methods=spirl", "--sac.policy_widths=128,128,128"), 10, None),
        (("--methods=own", "--through=real_nvp", "--learner=ppo"), 2, None),
        (("--methods=traj_rl",), 8, None),
        (("--methods=prior_explore",), 2, 1.0),
        (("--methods=parrot", "--parrot.latents.residual=0.1"), 4, None),
        (("--methods=ssp", "--skill_vae.latent_size=3", "--ssp.latents.residual=0.1"), 5, 2.0),
    ],
)
def test_where_it_acts(arguments: tuple[str, ...], size: int, bound: float | None) -> None:
    assert agent(*arguments).env.action_spec == (size, bound)


def test_one_choice_is_one_action_unless_it_is_a_skill() -> None:
    plain, through = agent("--methods=sac"), agent("--methods=own", "--through=gaussian")
    state = jax.jit(plain.env.reset)(jax.random.key(0))
    chosen = jnp.array([0.3, -0.2])
    assert plain.decode is not None
    np.testing.assert_array_equal(plain.decode(state, chosen), chosen)
    # an untrained Gaussian is N(0, I), squashed
    assert through.decode is not None
    np.testing.assert_allclose(through.decode(state, chosen), np.tanh(chosen), rtol=1e-5)
    assert agent("--methods=ssp").decode is None


def test_latents_of_a_prior_over_actions_have_a_prior_too() -> None:
    """N(0, I), at which a policy over them starts; so the divergence is 0 before it learns."""
    learner = agent("--methods=own", "--through=gaussian", "--close_to=through.prior").learner
    state = learner.init(jax.random.key(0))
    env = task_env(config_of(RUN, SMALL[0]))
    observation = jax.jit(env.reset)(jax.random.key(0)).observation
    drawn = jax.vmap(lambda key: learner.act(state.policy, observation, key, explore=True).action)(
        jax.random.split(jax.random.key(1), 4000)
    )
    assert abs(float(drawn.mean())) < 3 / math.sqrt(8000)
    assert abs(float(drawn.std()) - 1.0) < 0.04


def test_the_policy_has_the_widths_of_what_it_starts_from() -> None:
    """Without a word about either; and a clone those of the policy, where that has some."""
    config = config_of(RUN, SMALL[0], "--methods=spirl")
    env, methods = task_env(config), chosen_methods(config)
    fitted = {name: untrained(x) for name, x in stages_of(methods, config, env).items()}
    learner = build("spirl", methods["spirl"], config, env, fitted).learner
    policy = jax.eval_shape(lambda k: learner.init(k).policy, jax.random.key(0))["params"]["MLP_0"]
    assert [policy[f"Dense_{i}"]["bias"].shape for i in range(4)] == [(128,), (128,), (128,), (20,)]
    config = config_of(RUN, *SMALL, "--methods=bc_sac")
    (stage,) = stages_of(chosen_methods(config), config, env).values()
    assert stage.config.widths == (8,)


def test_whole_episodes_are_as_long_as_the_environments() -> None:
    made = agent("--methods=traj_rl")
    config = config_of(RUN, *SMALL, "--methods=traj_rl")
    assert made.env.episode_length == 1
    assert made.env.steps_per_action == task_env(config).episode_length


def test_a_prior_with_a_past_acts_where_it_is_remembered() -> None:
    made = agent("--methods=parrot", "--real_nvp.history=3", "--real_nvp.observation=position")
    # two coordinates and two actions a step
    assert made.env.observation_spec[HISTORY].shape == (3, 4)
    state = jax.jit(made.env.reset)(jax.random.key(0))
    state = jax.jit(made.env.step)(state, jnp.array([0.3, -0.2]))
    past = state.observation[HISTORY]
    assert (past[:2] == 0).all()
    # an untrained flow is the identity
    np.testing.assert_allclose(past[2, 2:], [0.3, -0.2], atol=1e-6)
    assert HISTORY not in agent("--methods=parrot").env.observation_spec


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--learner=ppo", "--close_to=gaussian"), "--close_to=gaussian: ppo cannot do that"),
        (("--close_to=through.prior",), "--close_to=through.prior needs a model to act through"),
        (
            ("--through=real_nvp", "--start_from=gaussian"),
            "--start_from=gaussian is a prior over actions, but what is chosen are latents",
        ),
        (("--start_from=skill_vae",), "--start_from=skill_vae is no prior over single actions"),
        (
            ("--explore_with=real_nvp", "--learner=ppo"),
            "--explore_with=real_nvp: ppo learns from what its own policy does",
        ),
        (("--explore_with=skill_vae",), "--explore_with=skill_vae is no prior over single actions"),
        (
            ("--through=skill_vae", "--close_to=through.prior", "--own.latents.residual=0.1"),
            "--close_to=through.prior is a prior over skills, and says nothing about residuals",
        ),
        (
            ("--through=trajectory_vae", "--trajectory_vae.horizon=20"),
            "--trajectory_vae.horizon=20 should be at least 2",
        ),
        (
            ("--close_to=examples.own_parts.cvae_prior:cvae",),
            "staying close to it needs a prior with a distribution; cvae has none",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError) as caught:
        agent("--methods=own", *arguments)
    assert words in str(caught.value)
