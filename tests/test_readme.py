"""The README's example runs as it stands, only shorter."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"

SHORTER = {
    "episodes=500": "episodes=40",
    "FitConfig(steps=2000)": "FitConfig(steps=20, steps_per_epoch=10)",
    "LoopConfig(steps=16_000)": "LoopConfig(steps=3_200, batch_size=16)",
    "state.steps < 16_000": "state.steps < 3_200",
}


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    # the other one is of a run, and in tests/deploy
    (example,) = (x for x in examples if "load_policy" not in x)
    for long, short in SHORTER.items():
        assert long in example
        example = example.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(README), "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["1600", "3200"]
