"""The README tells the truth: its commands exist, its tree is the tree, every setting has a comment."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PACKAGES = ("configs", "store", "retrieval", "bot", "finetune", "scheduler")


def commands() -> list[list[str]]:
    """The `python -m …` commands of the README with the words that name a command."""
    found = re.findall(r"^(?:.*`)?python -m (\w+) (\w+)", README, flags=re.MULTILINE)
    return [list(one) for one in sorted(set(found))]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_each_command_of_the_readme_has_help_with_an_example(command, capsys):
    package, name = command
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"{package}.__main__").main([name, "--help"])
    assert ended.value.code == 0
    assert "example: python -m" in capsys.readouterr().out


def test_each_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text())):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def tree() -> dict[str, set[str]]:
    """The files that the README's tree names, by package."""
    block = README.split("## The tree")[1].split("```")[1]
    found: dict[str, set[str]] = {}
    package = ""
    for line in block.splitlines():
        if match := re.match(r"(\w+)/", line):
            package = match.group(1)
            found[package] = set()
        elif match := re.match(r"  ([\w.]+\.(?:py|yaml))\b", line):
            found[package].add(match.group(1))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_of_the_readme_is_the_tree(package):
    files = {path.name for path in (ROOT / package).iterdir() if path.suffix in (".py", ".yaml")}
    assert tree()[package] == files - {"__init__.py", "__main__.py"}


def test_every_setting_of_the_default_file_has_a_comment():
    lines = (ROOT / "configs" / "default.yaml").read_text().splitlines()
    assert not [line for line in lines if re.match(r"\s*\w+:", line) and "#" not in line]


def test_no_figure_stands_in_the_readme_without_its_results_file():
    for name in re.findall(r"bench/results/(\w+\.json)", README):
        assert (ROOT / "bench" / "results" / name).is_file(), name


def test_nothing_names_a_path_of_one_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    texts = [ROOT / name for name in tracked if not name.endswith((".png", ".json", ".jsonl", ".safetensors"))]
    needles = ("/" + "work/", "/" + "root/", "/" + "home/")
    assert not [str(path) for path in texts if path.exists() and any(n in path.read_text() for n in needles)]
