"""What learns, evaluates, acts through priors and draws, with gymnasium's environments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.wrappers.decode import decode_action
from behavior_priors.evaluation.evaluate import make_evaluate
from behavior_priors.learners.sac import SACConfig, make_sac
from behavior_priors.training.loop import LoopConfig, make_loop
from behavior_priors.types import ActionSpec, Prior
from tests.envs.adapters.gym.counting import GONE, LIMIT, NUM_ENVS, Counting, make_counting, run
from tests.learners import test_sac_probes


@pytest.fixture(autouse=True)
def forget_instances() -> None:
    Counting.made.clear()


def test_a_prior_acts_on_it():
    """Its latents, scaled, move by half of what is observed: 0.5 * time + 0.25 * latent."""
    prior = Prior(
        name="probe",
        latent_size=2,
        action_size=2,
        init=lambda key: jnp.zeros(()),
        encode=lambda params, observation: observation["observation"][..., 2:3],
        decode=lambda params, latent, features: 0.5 * features + params * latent,
        loss=lambda params, batch, key: (jnp.zeros(()), {}),
    )
    env = decode_action(make_counting(), prior, jnp.float32(0.25), None)
    latents = np.tile(np.float32([0.5, -1.0]), (5, NUM_ENVS, 1))
    _, transition, _, _ = run(env, latents)
    np.testing.assert_array_equal(transition.action, latents)
    acted = np.stack(Counting.made[0].actions[-5:])
    np.testing.assert_array_equal(
        acted, [[0.125, -0.25], [0.625, 0.25], [1.0, 0.75], [1.0, 1.0], [0.125, -0.25]]
    )


LOOP = LoopConfig(
    steps=36,
    epoch_steps=12,
    num_envs=NUM_ENVS,
    warmup_steps=12,
    updates_per_step=1 / 3,
    batch_size=4,
)
SAC = SACConfig(policy_widths=(8,), critic_widths=(8,))


def test_a_loop_learns_on_it_and_goes_on_in_another_process():
    with jax.numpy_dtype_promotion("standard"):
        env = make_counting()
        loop = make_loop(env, make_sac(SAC, env.observation_spec, env.action_spec), LOOP)
        state = jax.jit(loop.init)(jax.random.key(0))
        for _ in range(2):
            state, metrics = loop.run_epoch(state)
            # three environments, twelve steps, episodes of four that pay 1 a step
            assert float(metrics["episode/count"]) == 3
            assert float(metrics["episode/return"]) == 4.0
        assert np.isfinite(float(metrics["train/critic_loss"]))
        saved = jax.tree.map(jnp.copy, state)
        assert len(Counting.made) == NUM_ENVS

        # what another process would do with what this one saved
        again = make_counting()
        loop = make_loop(again, make_sac(SAC, again.observation_spec, again.action_spec), LOOP)
        with pytest.raises(Exception, match=GONE):
            jax.block_until_ready(loop.run_epoch(jax.tree.map(jnp.copy, saved)))
        resumed = loop.resume(jax.tree.map(jnp.copy, saved))
        np.testing.assert_array_equal(resumed.envs.time, np.zeros(NUM_ENVS))
        np.testing.assert_array_equal(resumed.steps, saved.steps)
        resumed, metrics = loop.run_epoch(resumed)
        assert float(metrics["episode/count"]) == 3
        assert int(resumed.steps) == 36


def test_what_a_loop_gives_up_is_used_again():
    """As often as its episodes are given up; what is left of them is stale then."""
    with jax.numpy_dtype_promotion("standard"):
        env = make_counting()
        loop = make_loop(env, make_sac(SAC, env.observation_spec, env.action_spec), LOOP)
        state = loop.init(jax.random.key(0))
        loop.release(state)
        loop.release(state)
        again = reset_many(env, jax.random.key(1), NUM_ENVS)
        jax.block_until_ready(again)
        assert len(Counting.made) == NUM_ENVS
        assert len(set(again.simulation.instance.tolist())) == NUM_ENVS
        with pytest.raises(Exception, match=GONE):
            jax.block_until_ready(jax.vmap(env.step)(state.envs, jnp.zeros((NUM_ENVS, 2))))


def test_evaluations_share_their_instances():
    env = make_counting("says_success=true&terminate_at=3")
    learner = make_sac(SAC, env.observation_spec, env.action_spec)
    evaluate = make_evaluate(env, learner, 5, stochastic=True)
    policy = learner.init(jax.random.key(0)).policy
    counts = []
    for seed in range(3):
        metrics = jax.device_get(evaluate(policy, jax.random.key(seed)))
        counts.append(len(Counting.made))
        assert float(metrics["return_mean"]) == float(metrics["stochastic/return_mean"]) == 3.0
        assert float(metrics["success_rate"]) == float(metrics["stochastic/success_rate"]) == 1.0
    # both policies may be at it at the same time
    assert counts[0] in (5, 10)
    assert counts[1:] == [counts[0]] * 2


def test_a_time_limit_is_worth_more_than_a_deadline_of_the_same_length():
    """`1 / (1 - 0.8) = 5` against `1 + 0.8 + 0.64 + 0.512 = 2.952` at the first step."""
    _, train = test_sac_probes.trainer(1.0)
    values = []
    for query in ("cue=constant", "cue=time&terminate_at=4"):
        env = make_counting(query)
        env = env._replace(
            action_spec=ActionSpec(1),
            step_then_reset=lambda s, a, env=env: env.step_then_reset(s, jnp.tile(a, 2)),
        )
        with jax.numpy_dtype_promotion("standard"):
            transitions = test_sac_probes.collect(env, jax.random.key(0))
            state = train(jax.random.key(1), transitions)
            value = test_sac_probes.values(state, transitions)
        first = np.asarray(transitions.observation["cue"][:, 0] == 0.0)
        values.append(np.asarray(value)[:, first])
    assert values[1].shape == (2, test_sac_probes.ENVS * test_sac_probes.STEPS // LIMIT)
    np.testing.assert_allclose(values[0], 5.0, atol=0.1)
    np.testing.assert_allclose(values[1], 2.952, atol=0.1)


def test_images_are_of_the_state_also_if_it_was_stepped_first():
    env = make_counting("render_mode=rgb_array")
    counter = Counting.made[0]
    assert env.render is not None
    draw = jax.jit(lambda state: env.render(state, 8, 6))
    states, images = [env.reset(jax.random.key(0))], []
    for _ in range(LIMIT):
        states.append(env.step(states[-1], jnp.zeros(2)))
        images.append(draw(states[-2]))
    images.append(draw(states[-1]))
    np.testing.assert_array_equal([int(image[0, 0, 0]) for image in images], range(LIMIT + 1))
    assert (np.stack(images)[:, 3:] == 100).all()
    drawn = counter.drawn
    draw(states[-1])
    assert counter.drawn == drawn
    with pytest.raises(Exception, match=GONE):
        jax.block_until_ready(draw(states[0]))
    # an episode that nobody looks at is drawn at its beginning only
    state = env.reset(jax.random.key(1))
    for _ in range(LIMIT):
        state = env.step(state, jnp.zeros(2))
    assert counter.drawn == drawn + 1


def test_images_of_many_are_scaled():
    env = make_counting("render_mode=rgb_array")
    assert env.render is not None
    states = reset_many(env, jax.random.key(0), 2)
    images = jax.vmap(lambda s: env.render(s, 20, 12))(states)
    assert images.shape == (2, 12, 20, 3)
    # 8 x 6 pixels doubled, between two black pixels on the left and the right
    assert (images[:, :, :2] == 0).all()
    assert (images[:, :, -2:] == 0).all()
    assert (images[:, 6:, 2:-2] == 100).all()
    assert (images[:, :6] == 0).all()
    assert make_counting().render is None
