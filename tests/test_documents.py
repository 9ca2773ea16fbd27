"""README.md and GUIDE.md: their commands run, their links lead somewhere, and the first is short."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from bsc.cli import main

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "GUIDE.md")
TWO_SCREENS = 80

SHORTER = {"--noise": "--limit 20", "finetune": "--epochs 1"}
"""What is added to commands with such a word, which else take minutes on a busy machine."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Every line of a shell example, less the setting up of an environment."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL)
    lines = [line.split(" && ")[-1] for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith(".venv/bin/pytest")]


def headings(name: str) -> set[str]:
    """Anchors as GitHub makes them."""
    found = re.findall(r"^#+ (.*)$", text(name), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in found}


def run(lines: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands one after another, beside the repository's files."""
    (folder / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(folder)
    for line in lines:
        program, *words = shlex.split(" ".join([line, *(more for word, more in SHORTER.items() if word in line)]))
        assert program == ".venv/bin/bsc", line
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"


def test_readme_and_guide_are_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for fine-tuning, which the next test runs."""
    lines = [line for name in DOCUMENTS for line in commands(name)]
    assert len(lines) > 8
    run([line for line in lines if "finetune" not in line and "sparse.onnx" not in line], tmp_path, monkeypatch)


def test_fine_tuning_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one epoch of twelve."""
    pytest.importorskip("torch")
    run([line for line in commands("GUIDE.md") if "sparse.onnx" in line], tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [*DOCUMENTS, *(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*/*.md"))])
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(name)):
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            assert anchor in headings(str(found.resolve().relative_to(ROOT))), target


def test_readme_takes_two_screens() -> None:
    assert len(text("README.md").splitlines()) <= TWO_SCREENS
