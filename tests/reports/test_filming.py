"""Films: every step is a frame, gymnasium's environments are drawn, and it is said where not."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rendering import point_down
from behavior_priors.reports import filming
from behavior_priors.reports.filming import Film, filmed, frames_per_second, record, with_captions
from behavior_priors.types import Array, State
from tests.envs.adapters.gym.counting import COUNTING, Counting, make_counting
from tests.methods.agents import make


def whole(pieces: Iterator[Film]) -> Film:
    """A film of its pieces."""
    return Film(*(np.concatenate(x, axis=1) for x in zip(*pieces, strict=True)))


MAZE = "--env=maze/test?distance=3&episode_length=12"


@pytest.mark.parametrize(
    "arguments", [("--methods=sac",), ("--methods=ssp", "--skill_vae.horizon=5")]
)
def test_every_step_is_a_frame(arguments: tuple[str, ...]) -> None:
    made = make(MAZE, *arguments)

    def clock(state: State, width: int, height: int) -> Array:
        return jnp.full((height, width, 3), state.time, jnp.uint8)

    env = made.env._replace(render=clock)
    film = whole(record(env, made.agent, made.policy, jax.random.key(0), 3, (4, 2)))
    assert film.frames.shape == (3, 13, 2, 4, 3)
    np.testing.assert_array_equal(film.frames[..., 0, 0, 0], film.steps)
    np.testing.assert_array_equal(film.steps, np.minimum(np.arange(13), film.steps[:, -1:]))


def test_a_film_is_made_in_pieces_of_what_it_would_be_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = make(f"--env={COUNTING}?terminate_at=4&says_success=true", "--methods=sac")
    drawn = filmed(made.env, made.env.name)
    assert drawn is not None
    given = (drawn, made.agent, made.policy, jax.random.key(0), 2, (40, 24))
    one = whole(record(*given))
    for size in (1, 2, 3, 5):
        monkeypatch.setattr(filming, "PIECE", size)
        pieces = list(record(*given))
        assert [len(x.steps[0]) for x in pieces[:-1]] == [size] * (len(pieces) - 1)
        for ours, theirs in zip(whole(iter(pieces)), one, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_environment_of_gymnasiums_is_drawn_without_being_asked() -> None:
    made = make(f"--env={COUNTING}?terminate_at=4&says_success=true", "--methods=sac")
    assert made.env.render is None
    drawn = filmed(made.env, made.env.name)
    assert drawn is not None
    film = whole(record(drawn, made.agent, made.policy, jax.random.key(0), 2, (40, 24)))
    # its picture's top half is the time; the fourth step ends the task, and with it the film
    times = np.arange(5)
    np.testing.assert_array_equal(film.frames[:, :, 2, 20, 0], [times, times])
    np.testing.assert_array_equal(film.returns, [times, times])
    np.testing.assert_array_equal(film.steps, [times, times])
    np.testing.assert_array_equal(film.success[0], times >= 3)
    episodes = with_captions(film, measures_success=True)
    assert [x.shape for x in episodes] == [(5, 40, 40, 3)] * 2
    np.testing.assert_array_equal(episodes[0][:, :24], film.frames[0])
    # words stand in the strip, and other ones from step to step
    strips = episodes[0][:, 24:]
    assert strips.min() < 100
    assert len({x.tobytes() for x in strips}) == 5


def test_its_own_frames_a_second_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames_per_second(make_counting()) == 12.0
    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}
    monkeypatch.setattr(Counting, "metadata", metadata)
    assert frames_per_second(make_counting("render_mode=rgb_array")) == 50.0


def test_it_is_said_why_there_is_no_video(capsys: pytest.CaptureFixture[str]) -> None:
    env = make_env("brax/reacher?episode_length=20&engine=spring&resets=1")
    assert filmed(env, env.name) is None
    assert capsys.readouterr().out.startswith(
        f"no video of {env.name}: it has no picture of itself"
    )
    broken = make_counting("cue=time")
    assert filmed(broken, f"{COUNTING}?observe=mist") is None
    assert f"no video of {broken.name}: " in capsys.readouterr().out


def test_an_arrow_points_at_a_place() -> None:
    """A camera at (0, -1, 0) that looks along y: the place 1 m ahead and 0.25 m up."""
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><camera name="c" pos="0 -1 0" xyaxes="1 0 0 0 0 1" fovy="90"/>'
        '<geom size="0.1"/></worldbody></mujoco>'
    )
    image = np.full((96, 128, 3), 7, np.uint8)
    drawn = np.asarray(point_down(image, model, "c", np.array([0.5, 0.0, 0.25], np.float32)))
    changed = np.argwhere((drawn != 7).any(-1))
    # focal length 48: column 64 + 48 * 0.5 = 88, row 48 - 48 * 0.25 = 36, where the tip ends
    assert changed[:, 0].max() == 35
    assert changed[:, 0].min() == 29
    assert changed[:, 1].mean() == pytest.approx(87.5)
    behind = np.array([0.5, -3.0, 0.0], np.float32)
    np.testing.assert_array_equal(point_down(image, model, "c", behind), image)
