"""Every notebook runs from top to bottom, in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def executed(path: Path) -> nbformat.NotebookNode:
    """The notebook after a run from top to bottom. Raises `CellExecutionError`, but for a release that the gate held back."""
    notebook = nbformat.read(path, as_version=4)
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    except CellExecutionError:
        if not held_back(notebook):
            raise
    return notebook


def held_back(notebook: nbformat.NotebookNode) -> bool:
    return any("INCONCLUSIVE" in str(output.get("data", "")) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path: Path) -> None:
    notebook = executed(path)
    if held_back(notebook):  # about one sound release in a hundred (docs/benchmarks.md); twice in a row is a fault
        notebook = executed(path)
    assert not held_back(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert code and all(c.execution_count for c in code)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
