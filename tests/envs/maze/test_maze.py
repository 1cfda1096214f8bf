"""The point maze: its generator, the point against walls, what is seen, the task."""

from __future__ import annotations

import itertools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from behavior_priors.envs.base import reset_many
from behavior_priors.envs.maze import layout, maps, point, view
from behavior_priors.envs.maze.tasks import fixed_task
from behavior_priors.envs.registry import make_env
from behavior_priors.envs.rollout import rollout
from behavior_priors.errors import UserError
from behavior_priors.types import Env, State


def grid(*rows: str) -> jax.Array:
    """Walls from a drawing whose first line is `i = 0`."""
    return jnp.array([[cell == "#" for cell in row] for row in rows])


ROOM = grid("#####", "#...#", "#...#", "#...#", "#####")
PILLAR = grid("#####", "#...#", "#.#.#", "#...#", "#####")


def breadth_first(walls: np.ndarray, goal: tuple[int, int]) -> np.ndarray:
    """Steps to the goal, the slow way."""
    steps = np.full(walls.shape, layout.UNREACHABLE)
    steps[goal] = 0
    queue = deque([goal])
    while queue:
        i, j = queue.popleft()
        for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            at = (i + di, j + dj)
            if not walls[at] and steps[at] == layout.UNREACHABLE:
                steps[at] = steps[i, j] + 1
                queue.append(at)
    return steps


@pytest.mark.parametrize(("size", "count"), [(20, 200), (40, 8)])
def test_mazes_are_closed_and_a_quarter_wall(size: int, count: int) -> None:
    draw = jax.jit(jax.vmap(lambda key: layout.draw_walls(key, size)))
    mazes = np.asarray(draw(jax.random.split(jax.random.key(0), count)))
    for edge in (mazes[:, 0], mazes[:, -1], mazes[:, :, 0], mazes[:, :, -1]):
        assert edge.all()
    covered = mazes[:, 1:-1, 1:-1].mean((1, 2))
    # the wall that reaches a quarter is finished, and is at most half a side long
    assert covered.min() > 0.2
    assert covered.max() < 0.25 + 0.5 / (size - 2)
    assert len({maze.tobytes() for maze in mazes}) == count


def test_most_of_a_maze_hangs_together() -> None:
    """Doors are doors: from a free cell most others can be reached, in most mazes."""
    draw = jax.jit(jax.vmap(lambda key: layout.draw_walls(key, 20)))
    shares = []
    for maze in np.asarray(draw(jax.random.split(jax.random.key(1), 32))):
        cells = np.argwhere(~maze)
        reached = (breadth_first(maze, tuple(cells[len(cells) // 2])) < layout.UNREACHABLE).sum()
        shares.append(reached / len(cells))
    assert np.mean(shares) > 0.8


def test_ways_are_shortest() -> None:
    walls = np.asarray(jax.jit(layout.draw_walls, static_argnums=1)(jax.random.key(3), 20))
    goal = tuple(np.argwhere(~walls)[57])
    goals = np.zeros_like(walls)
    goals[goal] = True
    ways = np.asarray(jax.jit(layout.ways_to)(walls, goals))
    np.testing.assert_array_equal(ways, breadth_first(walls, goal))


def test_the_next_cell_is_on_the_way() -> None:
    ways = layout.ways_to(PILLAR, jnp.zeros((5, 5), bool).at[3, 3].set(True))
    assert ways[1, 1] == 4
    assert layout.next_cell(PILLAR, ways, jnp.array([3, 2])).tolist() == [3, 3]
    assert layout.next_cell(PILLAR, ways, jnp.array([3, 3])).tolist() == [3, 3]
    assert layout.next_cell(PILLAR, ways, jnp.array([1, 2])).tolist() == [1, 3]


def test_a_free_step_by_hand() -> None:
    """`v = h F / (m + h d)` from rest, then the position with the new velocity."""
    position, velocity = point.move(
        ROOM, jnp.array([2.5, 2.5]), jnp.zeros(2), jnp.array([1.0, -0.5])
    )
    speed = 0.01 * 100.0 / (4.18879 + 0.01)
    np.testing.assert_allclose(velocity, [speed, -0.5 * speed], rtol=1e-5)
    np.testing.assert_allclose(position, [2.5 + 0.01 * speed, 2.5 - 0.005 * speed], rtol=1e-6)


def test_damping_and_the_limits() -> None:
    _, coasting = point.move(ROOM, jnp.array([2.5, 2.5]), jnp.array([1.0, 0.0]), jnp.zeros(2))
    np.testing.assert_allclose(coasting, [1.0 - 0.01 / (4.18879 + 0.01), 0.0], rtol=1e-6)
    _, fast = point.move(ROOM, jnp.array([2.5, 2.5]), jnp.array([4.9, 0.0]), jnp.array([9.0, 0.0]))
    assert fast.tolist() == [5.0, 0.0]
    _, same = point.move(ROOM, jnp.array([2.5, 2.5]), jnp.array([4.9, 0.0]), jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(fast, same)


def test_a_wall_stops_what_runs_into_it_and_nothing_else() -> None:
    position, velocity = point.move(
        ROOM, jnp.array([3.89, 2.5]), jnp.array([4.0, 3.0]), jnp.zeros(2)
    )
    np.testing.assert_allclose(position[0], 4.0 - point.RADIUS, rtol=1e-6)
    assert velocity[0] == 0.0
    np.testing.assert_allclose(velocity[1], 3.0, rtol=1e-2)
    _, away = point.move(ROOM, jnp.array([3.9, 2.5]), jnp.array([-4.0, 0.0]), jnp.zeros(2))
    assert away[0] < -3.9


def test_a_corner_is_round() -> None:
    """The pillar's corner at (2, 2): put back along the diagonal, to a distance of 0.1."""
    position, velocity = point.move(
        PILLAR, jnp.array([1.94, 1.94]), jnp.array([1.0, 1.0]), jnp.zeros(2)
    )
    np.testing.assert_allclose(jnp.linalg.norm(position - 2.0), point.RADIUS, rtol=1e-5)
    np.testing.assert_allclose(position[0], position[1])
    np.testing.assert_allclose(velocity, [0.0, 0.0], atol=1e-6)
    _, sliding = point.move(PILLAR, jnp.array([1.94, 1.94]), jnp.array([1.0, -1.0]), jnp.zeros(2))
    np.testing.assert_allclose(sliding, [1.0, -1.0], rtol=1e-2)


def test_nothing_enters_a_wall() -> None:
    """A thousand random walks of full force, over a maze; checked against every wall cell."""
    env = make_env("maze/train")
    action = jax.random.uniform(jax.random.key(5), (200, 128, 2), minval=-1.0)
    action = jnp.repeat(jnp.sign(action), 10, axis=0)[:400]

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = reset_many(env, key, 128)
        walls = state.simulation.map.walls

        def step(state: State, action: jax.Array) -> tuple[State, jax.Array]:
            state = jax.vmap(env.step)(state, action)
            return state, state.simulation.position

        return walls, jax.lax.scan(step, state, action)[1]

    walls, positions = map(np.asarray, run(jax.random.key(0)))
    cells = np.stack(np.meshgrid(np.arange(20), np.arange(20), indexing="ij"), axis=-1)
    for maze in range(128):
        blocks = cells[walls[maze]]
        nearest = np.clip(positions[::7, maze, None], blocks, blocks + 1)
        distance = np.linalg.norm(positions[::7, maze, None] - nearest, axis=-1)
        assert distance.min() > point.RADIUS - 1e-4


def test_the_patch_is_the_covered_area() -> None:
    """At a cell's centre squares are cells; a quarter further, they are three quarters and one."""
    centred = np.asarray(view.patch(PILLAR, jnp.array([2.5, 1.5])))
    assert centred.shape == (7, 7)
    reach = 3
    assert centred[reach, reach] == 0
    assert centred[reach, reach + 1] == 255  # the pillar, along the second axis
    assert centred[reach, reach - 1] == 255
    assert centred[reach + 1, reach] == 0
    assert centred[reach + 2, reach] == 255
    assert (centred[:, 0] == 255).all()  # beyond the edge all is wall
    moved = np.asarray(view.patch(PILLAR, jnp.array([2.5, 1.75])))
    assert moved[reach, reach] == round(0.25 * 255)
    assert moved[reach, reach - 1] == round(0.75 * 255)


def test_the_image_shows_what_is_around() -> None:
    image = np.asarray(view.image(PILLAR, jnp.array([2.5, 1.5])))
    assert image.shape == (32, 32)
    assert image.dtype == np.uint8
    # pixels are 0.2 cells; the pillar begins half a cell to one side, the wall ends as far to the
    # other, and both edges run through the middle of a pixel
    grey = pytest.approx(127.5, abs=1)
    assert image[16, 16:22].tolist() == [0, 0, grey, 255, 255, 255]
    assert image[16, 10:16].tolist() == [255, 255, 255, grey, 0, 0]
    # a quarter of a pixel further, as far as a step goes at most
    moved = np.asarray(view.image(PILLAR, jnp.array([2.5, 1.55])))
    assert moved[16, 18] == pytest.approx(0.75 * 255, abs=1)
    assert moved[16, 13] == pytest.approx(0.25 * 255, abs=1)


@pytest.mark.parametrize("member", ["validation", "test"])
def test_a_goal_is_as_far_as_it_is_said_to_be(member: str) -> None:
    for distance in (5, 24):
        start, where = fixed_task(member, distance, 2.0)
        ways = breadth_first(where.walls, start)
        cells = np.argwhere(~where.walls)
        near = np.linalg.norm(cells + 0.5 - where.goal, axis=1) < 2.0
        assert ways[tuple(cells[near].T)].min() == distance
    with pytest.raises(UserError, match="no goal of radius 2 is distance=900"):
        make_env("maze/test?distance=900")


def test_mazes_that_stay_are_drawn_as_the_random_ones_are() -> None:
    for member, seed in (("validation", 1), ("test", 0)):
        key = jax.random.key(seed, impl="threefry2x32")
        with jax.threefry_partitionable(True):
            walls = layout.draw_walls(key, maps.FIXED_SIZE)
        np.testing.assert_array_equal(maps.fixed_walls(member), walls)


def test_settings_are_chosen_in_another_maze_than_they_are_judged_in() -> None:
    mazes = [np.asarray(fixed_task(member, 24, 2.0)[1].walls) for member in ("validation", "test")]
    assert (mazes[0] != mazes[1]).mean() > 0.2
    assert make_env("maze/validation").info["report_env"] == "maze/validation"
    assert make_env("maze/test").info["report_env"] == "maze/test"


def test_starts_are_jittered_within_their_cell() -> None:
    env = make_env("maze/test")
    start, _ = fixed_task("test", 24, 2.0)
    position = np.asarray(reset_many(env, jax.random.key(0), 256).simulation.position)
    assert (np.floor(position) == start).all()
    assert position.std(0).min() > 0.1


@pytest.mark.parametrize(("ends", "last"), [(True, 1.0), (False, 25.0)])
def test_both_protocols(ends: bool, last: float) -> None:
    """The first step at the goal ends the episode and pays 1; or every step there pays 1."""
    env = make_env(f"maze/test?ends_at_goal={str(ends).lower()}&episode_length=25&distance=5")
    _, where = fixed_task("test", 5, 2.0)
    state = env.reset(jax.random.key(0))
    state = state._replace(simulation=state.simulation._replace(position=jnp.asarray(where.goal)))

    def there(_: jax.Array) -> State:
        return state

    result = rollout(env._replace(reset=there), lambda *_: jnp.zeros(2), jax.random.key(0), 2)
    assert result.reward.sum(1).tolist() == [last, last]
    assert result.length.tolist() == [1 if ends else 25] * 2
    assert result.final.terminated.tolist() == [ends, ends]
    assert result.final.truncated.tolist() == [not ends, not ends]
    assert result.final_success.all()


def demonstrated(env: Env, episodes: int) -> float:
    run = jax.jit(lambda key: rollout(env, env.demonstrate, key, episodes).final_success.mean())
    return float(run(jax.random.key(0)))


def test_the_demonstrator_finds_its_way() -> None:
    assert demonstrated(make_env("maze/train"), 64) > 0.9
    assert demonstrated(make_env("maze/test"), 4) == 1.0
    assert demonstrated(make_env("maze/validation"), 4) == 1.0


def test_scores_and_pictures() -> None:
    env = make_env("maze/test?image=true")
    state = env.reset(jax.random.key(0))
    assert set(env.observation_spec) == {"position", "velocity", "patch", "image"}
    for name, spec in env.observation_spec.items():
        assert state.observation[name].shape == spec.shape
        assert state.observation[name].dtype == spec.dtype
    assert float(env.scores["cells_to_goal"](state)) == 26
    picture = np.asarray(env.render(state, 120, 90))
    assert picture.shape == (90, 120, 3)
    colours = {tuple(c) for c in picture.reshape(-1, 3)}
    assert {view.WALL, view.FLOOR, view.GOAL, view.POINT} <= colours


def test_the_images_second_frame_is_the_one_before() -> None:
    env = make_env("maze/test?image=true&patch=false")
    first = env.reset(jax.random.key(0))
    seen = [first.observation["image"]]
    state = first._replace(simulation=first.simulation._replace(velocity=jnp.array([5.0, 5.0])))
    for _ in range(8):
        state = env.step(state, jnp.ones(2))
        seen.append(state.observation["image"])
    np.testing.assert_array_equal(seen[0][..., 0], seen[0][..., 1])
    for before, after in itertools.pairwise(seen):
        np.testing.assert_array_equal(after[..., 1], before[..., 0])
    assert not np.array_equal(seen[-1][..., 0], seen[0][..., 0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("maze/exam", "maze has: train, validation, test"),
        ("maze/test?radius=-1", "should be positive"),
        ("maze/test?colour=red", "no choice that maze/test has"),
    ],
)
def test_what_cannot_be_made(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_env(name)
    with pytest.raises(UserError, match="which has its own; leave it out"):
        make_env("maze/test", engine="c")
