"""A figure that stands in several places is the same in all of them: it comes from one, its home.

Looked for are measured figures: numbers with a unit, with two or more decimals, or of the kind of 1e-9. Of several
with one unit behind them ("Y 31.47 and RGB 30.05 dB") only the last one has it; the unit of the others fits any.
"""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

UNITS = "dB|GB|MB|kB|ms|levels|times|%"
FIGURE = re.compile(
    r"(?<![\w.,-])(?:"
    r"(?P<time>\d+ (?:h|min|s)(?: \d+ (?:min|s))?)\b"
    rf"|(?P<value>\d+e-\d+|\d[\d,]*(?:\.\d+)?|\.\d+)(?: (?P<unit>{UNITS})(?!\w))?(?![\w.]*\d)"
    r")"
)

# What the figure is of: its home (file, how its row or sentence begins or what is in it), and its other places.
TOPICS = {
    "quickstart": (
        ("README.md", r"^\| quickstart"),
        [
            ("docs/*.md", r"\(the quickstart\)"),
            ("docs/*.md", r"^\| bicubic, no network"),
            ("configs/quickstart.py", r"^(Cost|Expected): "),
        ],
    ),
    "accuracy beside PyTorch": (
        ("README.md", r"^\| five iterations of both stages"),
        [("README.md", r"five iterations agree"), ("CONTRIBUTING.md", r"weights and losses to")],
    ),
    "accuracy on several devices": (
        ("README.md", r"^\| 1, 2, 4, 8 devices"),
        [("docs/resume.md", r"In float64 two processes of")],
    ),
    "scores of papers": (
        ("docs/evaluation.md", r"^\| .*/\.\d{4}"),
        [
            ("docs/recipes.md", r"^\| .*/\.\d{4}"),
            ("configs/*.py", r"the paper's, trained"),
            ("esrgan_jax/evaluation/test_sets.py", r"\(\d\d\.\d\d, 0\.\d{4}\)"),
        ],
    ),
    "download of DIV2K": (
        ("docs/data.md", r"DIV2K: downloaded"),
        [("README.md", r"downloads .* GB"), ("esrgan_jax/**/*.py", r"download DIV2K \(")],
    ),
    "speed of large tiles": (
        ("docs/benchmarks.md", r"so a tile's pixel is"),
        [("docs/upscaling.md", r"A pixel of a tile of \d+ is computed")],
    ),
    "memory of remat": (
        ("docs/benchmarks.md", r"^\| .*\bremat\b"),
        [("esrgan_jax/models/rrdbnet.py", r"of the memory \(batch 4")],
    ),
    "gradients in a loop": (
        ("docs/architecture.md", r"has its own gradient on CPUs"),
        [("esrgan_jax/models/convolution.py", r"Inside a loop XLA:CPU")],
    ),
    "edges of alpha": (
        ("docs/upscaling.md", r"^\| `(model`, Real|bicubic`)"),
        [("esrgan_jax/inference/picture_upscaler.py", r"mean error of alpha")],
    ),
}


def pieces(text):
    """The rows, labelled lines and sentences of a text, each on one line and without marks of comments."""
    lines = [re.sub(r"^\s*#? ?", "", line) for line in text.splitlines()]
    for paragraph in "\n".join(lines).split("\n\n"):
        rest = []
        for line in paragraph.splitlines():
            if line.startswith("|") or re.match(r"\w+: {2,}\w|Expected: ", line):
                yield line
            else:
                rest.append(line)
        yield from re.split(r"(?<=[.;]) (?=\w)", re.sub(r"\s+", " ", " ".join(rest)))


def figures(piece, *, measured=True):
    """(value, unit or None) of each measured figure, or of every number."""
    found = []
    for match in FIGURE.finditer(piece):
        value, unit = match["value"], match["unit"]
        if match["time"]:
            found.append((match["time"], "time"))
        elif unit or not measured or re.search(r"\.\d\d|e-([6-9]|\d\d)", value):  # 1e-3 is a learning rate
            found.append((float(value.replace(",", "")), unit))
    return found


def missing(home, mention):
    """The measured figures of one text that another one has not."""
    own = {figure for piece in home for figure in figures(piece, measured=False)}
    return [
        (value, unit)
        for value, unit in figures(mention)
        if not any(value == other and (unit == its or None in (unit, its)) for other, its in own)
    ]


def find(pattern_of_files, pattern):
    """The pieces of files that hold a pattern, with the name of the file."""
    for path in sorted(ROOT.glob(pattern_of_files)):
        for piece in pieces(path.read_text()):
            if re.search(pattern, piece):
                yield path.relative_to(ROOT).as_posix(), piece


@pytest.mark.parametrize("topic", TOPICS)
def test_figures_are_those_of_their_home(topic):
    (file, pattern), others = TOPICS[topic]
    home = [piece for _, piece in find(file, pattern)]
    assert home, f"{file} has nothing at {pattern!r}"
    for other, its_pattern in others:
        mentions = list(find(other, its_pattern))
        assert any(figures(piece) for _, piece in mentions), f"{other} has no figures at {its_pattern!r}"
        for name, piece in mentions:
            lost = missing(home, piece)
            assert not lost, f"{name}: {lost} are not in {file} ({pattern!r}): {piece}"


def test_the_rule_on_invented_texts():
    home = ["| 3 tries, 64 pixels | 4 min 05 s, 1.5 GB; Y 28.10 dB, RGB 27.50 dB; within 1e-9 |"]
    assert missing(home, "Cost:  4 min 05 s and 1.5 GB on 2 cores (2026-01-02), jax 0.10.2.") == []
    assert missing(home, "Y 28.10 and RGB 27.50 dB, to 1e-9.") == []
    assert missing(home, "| 8 runs, 1e-3 | 28.10 / 27.50 |") == []
    assert missing(home, "It takes 5 min 04 s.") == [("5 min 04 s", "time")]
    assert missing(home, "It takes 1.6 GB, or 1.5 MB.") == [(1.6, "GB"), (1.5, "MB")]
    assert missing(home, "28.11 / 27.50, to 1e-8") == [(28.11, None), (1e-8, None)]
    text = "It takes 3 s; then\nit stops. Cost:\n\n# A comment\n# goes on.\n\n| a | 1.25 |\nCost:     2 GB\n"
    split = [
        "It takes 3 s;",
        "then it stops.",
        "Cost:",
        "A comment goes on.",
        "| a | 1.25 |",
        "Cost:     2 GB",
        "",
    ]
    assert list(pieces(text)) == split


def test_versions():
    """One range for jax, whatever it is installed for; the README's Pythons and the citation are the metadata's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = sum(project["optional-dependencies"].values(), project["dependencies"])
    assert len({re.sub(r"^jax(\[\w+\])?", "", need) for need in needs if re.match(r"jax[\[>=]", need)}) == 1
    names = [re.search(r"Python :: (\d+\.\d+)$", line) for line in project["classifiers"]]
    pythons = [match[1] for match in names if match]
    assert f"Python {pythons[0]} to {pythons[-1]}" in README
    assert project["requires-python"] == f">={pythons[0]}"
    citation = (ROOT / "CITATION.cff").read_text().splitlines()
    assert {f"version: {project['version']}", f"license: {project['license']}"} <= set(citation)
