"""The converting program: what it prints, how it refuses, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from behavior_priors.data.episodes import EpisodeReader
from behavior_priors.errors import UserError
from experiments.convert import ConvertConfig, read_bounds
from tests.data.readers.files import d4rl, ogbench, robomimic, write_hdf5, write_npz
from tests.experiments.conftest import one_line
from tests.experiments.forks import Forks
from tests.experiments.runs import ROOT, Program, Result, files


def run(folder: Path, *arguments: str) -> Result:
    """The program's end; its outputs go to a folder beside the one it runs in."""
    logs = folder.with_name(f"{folder.name}-logs")
    places = [f"--input={folder / 'file'}", f"--output={folder / 'new' / 'data'}"]
    return Program("experiments.convert", (*places, *arguments), folder=logs).finish()


def test_a_table(tmp_path: Path) -> None:
    table = ogbench((3, 2))
    table["actions"] = table["actions"] * np.float32(128)
    write_npz(tmp_path / "file.npz", table).rename(tmp_path / "file")
    result = run(tmp_path)
    assert (result.status, result.stderr) == (0, "")
    assert re.sub(r" +", " ", result.stdout).splitlines() == [
        "wrote 2 of 2 episodes, 5 steps 0:00",
        "",
        f"{tmp_path / 'new' / 'data'}, from file (npz):",
        "observation is observations",
        "2 episodes, 5 steps; length 2 to 3, median 2.5; 0 terminated, 2 truncated",
        "action float32[3] from -4 to 4, mean -1.6 to 2.4, std 1.497",
        "observation/observation float32[2] from -102 to 102, mean -44.14 to 44.14, std 49.25",
        "66.67% of the action entries are saturated",
        "note: 2 last actions are left out, because the file does not have what they led to; "
        "0 of them ended the task",
        f"warning: {tmp_path / 'new' / 'data'}: its actions reach 4, beyond [-1, 1], in 80.00% of "
        "the steps; convert it again with --bounds_of=ENV, or with --action_low and --action_high, "
        "the bounds that its actions had (-1 and 1 if they are meant as they are)",
    ]
    reader = EpisodeReader(tmp_path / "new" / "data")
    assert (reader.num_episodes, reader.num_steps, reader.complete) == (2, 5, True)
    assert (reader.metadata.policy, reader.metadata.environment) == ("unknown", "unknown")


def test_every_flag(tmp_path: Path) -> None:
    demos = robomimic((3, 2, 2))
    demos["data/demo_1"]["actions"][0, 0] = np.nan
    write_hdf5(tmp_path / "file", demos, data__env_args='{"env_name": "Lift"}')
    result = run(
        tmp_path,
        "--format=robomimic",
        "--observation=x=hand[0:1],picture=image",
        "--policy=human",
        "--norewards",
        "--action_limit=0.03125",
        "--action_scale=auto",
        "--drop_bad_episodes",
    )
    assert (result.status, result.stderr) == (0, "")
    assert "x is obs/hand[0:1]" in result.stdout
    assert "picture is obs/image" in result.stdout
    assert "actions are divided by 0.04688, 0.03125, 0.03125" in result.stdout
    assert "note: 1 episodes with NaN or infinity are left out" in result.stdout
    assert "warning" not in result.stdout
    reader = EpisodeReader(tmp_path / "new" / "data")
    metadata = reader.metadata
    assert (metadata.policy, metadata.environment) == ("human", "Lift")
    assert metadata.extra["action_scale"] == [3 / 64, 2 / 64, 2 / 64]
    assert reader.read_array("observation/x")[:, 0].tolist() == [0, 1, 2, 3, 200, 201, 202]
    assert reader.layout["observation/picture"].shape == (4, 5, 3)
    assert "reward" not in reader.layout
    # 2 and 3 of the first dimension, 2 of the others, of 5 actions: in units of 1/64
    assert metadata.extra["report"]["action_saturation"] == pytest.approx(5 / 15)


def test_a_killed_conversion_leaves_no_dataset_and_the_next_one_is_whole(
    tmp_path: Path, forks: Forks
) -> None:
    table = ogbench((1000,) * 400)
    table["observations"] = np.tile(table["observations"], 15)
    write_npz(tmp_path / "file.npz", table, compressed=False)
    arguments = ("--input=file.npz", "--output=data")
    program = Program("experiments.convert", arguments, folder=tmp_path, may_be_killed=True)
    program.wait_until((tmp_path / ".partial-data" / "episodes-00000.npz").exists)
    program.kill()
    assert not (tmp_path / "data").exists()
    forks.succeed("convert", *arguments, folder=tmp_path)
    assert not (tmp_path / ".partial-data").exists()
    reader = EpisodeReader(tmp_path / "data")
    assert (reader.totals.num_shards, reader.num_episodes, reader.num_steps) == (2, 400, 400_000)
    assert (reader.read_array("observation/observation") == table["observations"]).all()


def test_the_example_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "your_data.md").read_text(encoding="utf-8")
    command, printed = re.findall(r"```\n(.*?)```", text, re.DOTALL)[:2]
    table = ogbench((1000,) * 2)
    table["observations"] = np.random.default_rng(0).standard_normal((2002, 28), np.float32)
    table["actions"] = np.ones((2002, 5), np.float32)
    write_npz(tmp_path / "cube.npz", table)
    python, dash_m, module, *arguments = command.replace("\\\n", " ").split()
    assert (python, dash_m) == ("python", "-m")
    result = Program(module, arguments, folder=tmp_path).succeed()
    same = [line for line in printed.splitlines() if re.match(r"data/cube|\w+ is|note", line)]
    assert len(same) == 5
    assert [line for line in same[:-1] if line not in result.stdout] == []
    # the other one needs TensorFlow
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (example,) = (x for x in examples if "tensorflow" not in x)
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(compile(example, "your_data.md", "exec"), found)
    rows = table["observations"][:, :12]
    np.testing.assert_allclose(found["spec"].location, rows.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(found["spec"].scale, rows.std(axis=0), rtol=1e-3)
    assert found["spec"].shape == (12,)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), ("'observations' holds nan", "episode 1, row 1", "--drop_bad_episodes")),
        (("--observation=hand=nope",), ("no observation 'nope'", "observations")),
        (("--observation=hand=observations[0]",), ("--observation", "NAME=KEY[START:STOP]")),
        (("--format=minari",), ("'episode_0'", "actions")),
        (("--format=csv",), ("--format=csv", "robomimic")),
        (("--action_limit=0",), ("--action_limit=0", "positive")),
        (("--output=file",), ("file", "not empty")),
        (("--input=nope",), ("nope", "no such file")),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_is_wrong_costs_one_line_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...], names: tuple[str, ...]
) -> None:
    table = d4rl((3, 2), (False, True))
    table["observations"][4, 1] = np.nan
    folder = tmp_path / "here"
    write_hdf5(folder / "file", table)
    before, paths = files(folder), set(folder.rglob("*"))
    arguments = tuple(a.replace("--output=file", f"--output={folder / 'file'}") for a in arguments)
    one_line(run(folder, *arguments), names)
    assert files(folder) == before
    assert set(folder.rglob("*")) == paths


def test_bounds_of_an_environment() -> None:
    config = ConvertConfig("a", "b", bounds_of="gym/examples.parking.parking:Parking-v0")
    low, high = (-3.0, float(np.float32(-0.6))), (2.0, float(np.float32(0.6)))
    assert read_bounds(config, 2) == {
        "action_low": low,
        "action_high": high,
        "bounds_source": "--bounds_of=gym/examples.parking.parking:Parking-v0",
    }
    with pytest.raises(UserError, match=r"--bounds_of=gym/.* has actions of 2 .*a of 3; give the"):
        read_bounds(config, 3)
    with pytest.raises(UserError, match="--bounds_of contradicts --action_low"):
        read_bounds(dataclasses.replace(config, action_low=(1.0,)), 2)
    point = ConvertConfig("a", "b", bounds_of="point/dense")
    assert read_bounds(point, 2) | {"bounds_source": ""} == {
        "action_low": (-1.0, -1.0),
        "action_high": (1.0, 1.0),
        "bounds_source": "",
    }
