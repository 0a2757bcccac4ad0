"""The notebooks run without a warning, and are stored as they ran."""

import ast
import copy
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
STORED = {path.stem: nbformat.read(path, as_version=4) for path in sorted(FOLDER.glob("*.ipynb"))}
LARGEST = 1_500_000  # bytes
LONGEST = 5  # lines of a function
# What the cell tagged "parameters" sets becomes these; below 3,000 a fit trains five networks.
SMALL = {"SIMULATIONS": 3_000, "HELD_OUT": 100, "DRAWS": 200, "STEPS": 30}
SMALL |= {"ROWS": 400, "NEW": 200, "SIZES": (9,), "SEEDS": (1,)}
# Where a notebook leaves the number of steps to `fit`, it is this, or one pass.
FEWER_STEPS = "from sbi_kit import learning\n\nlearning._STEPS, learning._PASSES = 30, 1"

each = pytest.mark.parametrize("name", STORED)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def complaints(notebook):
    """Errors, and whatever was written to stderr, where warnings go."""
    return [
        output
        for cell in code_cells(notebook)
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def program(cell):
    lines = cell.source.splitlines()
    return ast.parse("\n".join(line for line in lines if not line.startswith("%")))


def made_small(notebook):
    """A copy with another cell of parameters."""
    copied = copy.deepcopy(notebook)
    (cell,) = [cell for cell in copied.cells if "parameters" in cell.metadata.get("tags", ())]
    names = [node.id for node in ast.walk(program(cell)) if isinstance(node, ast.Name)]
    cell.source = "\n".join([FEWER_STEPS, *(f"{name} = {SMALL[name]}" for name in names)])
    return copied


def test_there_are_notebooks():
    assert {name[:2] for name in STORED} >= {"01", "02", "03", "04", "05", "06"}


@each
def test_it_runs_without_a_warning(name, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = made_small(STORED[name])
    place = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
    assert complaints(notebook) == []


@each
def test_it_is_stored_as_it_ran(name):
    cells = code_cells(STORED[name])
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert complaints(STORED[name]) == []
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


@each
def test_its_functions_are_short(name):
    for cell in code_cells(STORED[name]):
        for node in ast.walk(program(cell)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < LONGEST, f"{node.name} is long"


@each
def test_its_file_is_small(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST
