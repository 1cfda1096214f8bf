"""A few ends of a few stages; `python -m tests.chaos` makes as many as one likes, programs too."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags as absl_flags

from behavior_priors.config import flags
from tests.chaos.__main__ import ChaosConfig
from tests.chaos.harness import KINDS, STATUSES, Work, disturb, leave_alone
from tests.chaos.works import STAGES, STAGES_PROGRAM
from tests.experiments.forks import Forks

ENDS = 3


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    folder = tmp_path_factory.mktemp("forks")
    with contextlib.closing(Forks(folder, (STAGES_PROGRAM,))) as server:
        yield server


@pytest.mark.parametrize(
    "work",
    [work for work in STAGES if work.name in ("loop", "collect", "convert")],
    ids=lambda work: work.name,
)
def test_what_is_ended_at_any_time_comes_to_the_same(
    work: Work, chaos: Forks, tmp_path: Path
) -> None:
    expected = leave_alone(chaos, work, tmp_path)
    rng = random.Random(work.name)
    disturb(chaos, work, expected, tmp_path / "disturbed", rng, most=ENDS)


def test_every_kind_of_end_has_its_statuses() -> None:
    assert set(KINDS) == STATUSES.keys()


def test_the_program_of_many_ends_takes_its_flags() -> None:
    values = absl_flags.FlagValues()
    flags.define(ChaosConfig, flag_values=values)
    values(["chaos", "--stage_ends=12", "--works=loop,collect"])
    config = flags.read(ChaosConfig, flag_values=values)
    assert (config.stage_ends, config.works) == (12, ("loop", "collect"))
