"""What tests of datasets begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.examples import write_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Shards of the lengths [2], [2, 3] and [2, 3, 1]."""
    return write_dataset(tmp_path / "data")
