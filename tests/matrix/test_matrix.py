"""The matrix has every name on its axes, and a sample of its cells come to what they should."""

from __future__ import annotations

from pathlib import Path

import pytest

from behavior_priors.learners.registry import LEARNERS, META_LEARNERS
from behavior_priors.priors.registry import ENCODERS, MODELS
from tests.experiments.runs import ROOT
from tests.inside.programs import one_environment
from tests.matrix import page
from tests.matrix.axes import PLACES, cells, columns, rows, sizes
from tests.matrix.page import Page
from tests.matrix.worker import Workplace

SAMPLE = ("point/gaussian/ppo", "grasp/none/sac+gru")


@pytest.fixture(scope="module")
def documented() -> Page:
    return page.read((ROOT / page.OUTPUT).read_text(encoding="utf-8"))


def test_the_page_in_the_docs_has_every_cell_and_none_that_fails(documented: Page) -> None:
    assert documented.results.keys() == {cell.name for cell in cells()}
    assert [x for x in documented.results.values() if x.startswith(page.FAILS)] == []


def test_a_sample_of_cells_comes_to_what_the_page_says(documented: Page, tmp_path: Path) -> None:
    with one_environment() as forget:
        workplace = Workplace(tmp_path, forget)
        found = {x.name: workplace.result(x) for x in cells() if x.name in SAMPLE}
    assert found == {name: documented.results[name] for name in SAMPLE}


def test_every_name_is_on_an_axis() -> None:
    assert set(rows()) == {"none", *MODELS}
    assert {(x.learner, x.infer) for x in columns()} == {
        *((learner, None) for learner in LEARNERS),
        *((learner, encoder) for learner in META_LEARNERS for encoder in ENCODERS),
    }
    names = [cell.name for cell in cells()]
    assert len(set(names)) == len(names) == len(PLACES) * len(rows()) * len(columns())


def test_sizes_speak_of_what_a_cell_has() -> None:
    cell = next(x for x in cells() if x.name == "point/skill_vae/sac+gru")
    given = sizes(cell)
    assert {"--skill_vae.horizon=4", "--gru.recurrent_width=8", "--tasks.train=2"} <= {*given}
    assert not any(flag.startswith(("--ppo.", "--loop.", "--eval_episodes")) for flag in given)


def test_a_page_is_read_as_it_was_written() -> None:
    names = [cell.name for cell in cells()]
    results = dict.fromkeys(names, page.RUNS)
    results[names[1]] = results[names[4]] = "refused: --infer=gru: `x` | y is no z; give --z=none"
    results[names[2]] = "fails: it ended with 1: ValueError: no"
    written = page.write(Page(results, "python 3.11.9, jax 0.10.2"))
    # what encloses the line is not in it
    results = {name: result.replace("`", "'") for name, result in results.items()}
    assert page.read(written) == Page(results, "python 3.11.9, jax 0.10.2")
    del results[names[3]]
    assert page.read(page.write(Page(results, "python 3.12.0"))).results == results
