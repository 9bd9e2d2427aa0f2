"""docs/first_steps.ipynb: its cells run, what they show is what the page shows, and its scores are as its text says.

Its outputs are made anew by `jupyter execute --inplace docs/first_steps.ipynb`, once docs/runs is deleted.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "first_steps.ipynb"

EXECUTE = """
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read("first_steps.ipynb", as_version=4)
NotebookClient(notebook, kernel_name="python3", timeout=600).execute()
nbformat.write(notebook, "first_steps.ipynb")
"""


def code_cells(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def shown(cell):
    """What a cell shows: "stdout", "image/png" and so on, each once."""
    kinds = ([output["name"]] if "name" in output else output.get("data", {}) for output in cell["outputs"])
    # Where no terminal is, slow work says so on stderr from time to time.
    return {kind for one in kinds for kind in one} - {"stderr", "text/plain"}


def execute(folder, file):
    """Run a notebook in a folder, in a process of its own: kernels leave sockets and threads behind."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copy(file, folder / "first_steps.ipynb")
    # The cores of this machine, not the eight devices of the tests.
    clean = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    own = {"JUPYTER_DATA_DIR": str(folder / "jupyter"), "JUPYTER_PREFER_ENV_PATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", EXECUTE],
        cwd=folder,
        env=clean | own | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_it_runs(tmp_path):
    done = execute(tmp_path, NOTEBOOK)
    assert done.returncode == 0, done.stderr
    for new, old in zip(code_cells(tmp_path / NOTEBOOK.name), code_cells(NOTEBOOK), strict=True):
        assert shown(new) == shown(old), "".join(old["source"])
    scores = {}
    for run in ("first", "fine_tuned"):
        lines = (tmp_path / "runs" / run / "metrics.jsonl").read_text().splitlines()
        scores[run] = [line for line in map(json.loads, lines) if "psnr_rgb" in line]
    for key in ("psnr_y", "psnr_rgb"):  # what the text says of them
        for first, *_, last in scores.values():
            assert last[key] > max(first[key], last[f"bicubic_{key}"])


def test_a_cell_that_raises_fails(tmp_path):
    broken = json.loads(NOTEBOOK.read_text())
    cells = [cell for cell in broken["cells"] if cell["cell_type"] == "code"]
    cells[0]["source"] = "raise OSError('no such thing')"
    broken["cells"] = cells[:1]
    (tmp_path / "broken.ipynb").write_text(json.dumps(broken))
    done = execute(tmp_path, tmp_path / "broken.ipynb")
    assert done.returncode != 0
    assert "no such thing" in done.stderr


def test_what_is_committed():
    cells = code_cells(NOTEBOOK)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        names = {output.get("name") for output in cell["outputs"]}
        assert "error" not in {output["output_type"] for output in cell["outputs"]}
        assert "stderr" not in names
    assert {"stdout", "image/png"} <= set().union(*map(shown, cells))
    assert NOTEBOOK.stat().st_size < 600_000


def test_nothing_of_one_machine():
    """No absolute path, not in the sources and not in what the programs said."""
    page = json.loads(NOTEBOOK.read_text())
    texts = ["".join(cell["source"]) for cell in page["cells"]]
    texts += ["".join(output.get("text", ())) for cell in code_cells(NOTEBOOK) for output in cell["outputs"]]
    for text in texts:
        assert not re.search(r"(?<![\w./:])(?:~?/|[A-Za-z]:[\\/])\w", text), text


def test_links_lead_somewhere():
    page = json.loads(NOTEBOOK.read_text())
    text = "".join("".join(cell["source"]) for cell in page["cells"] if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)#]+)", text)
    assert len(links) > 3
    assert not [link for link in links if not (NOTEBOOK.parent / link).is_file()]
