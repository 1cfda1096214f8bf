"""What the tests of figures share."""

from __future__ import annotations

from typing import Any

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were saved."""
    saved: list[Any] = []
    save = Figure.savefig

    def spy(figure: Figure, file: Any, **kwargs: Any) -> None:
        saved.append(figure)
        save(figure, file, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    return saved
