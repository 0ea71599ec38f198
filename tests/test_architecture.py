"""The import rule: data goes round through the database, imports go down."""

import ast
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

OURS = {"configs", "store", "retrieval", "bot", "finetune", "scheduler"}
SERVING = {"bot.engine", "bot.vllm", "bot.models", "bot.prompt"}
MAY: dict[str, set[str]] = {
    "configs": set(),
    "store": {"store"},
    "retrieval": {"retrieval", "store"},
    "bot": {"bot", "store", "retrieval"},
    "finetune": {"finetune", "store"},
    "scheduler": {"scheduler", "store", "retrieval", "finetune", *SERVING},
}
TRAINER = {
    f"finetune/{name}.py"
    for name in (
        "train",
        "loop",
        "loading",
        "precision",
        "passes",
        "llama",
        "projection",
        "attention",
        "pieces",
        "spans",
        "checkpoint",
        "spread",
        "alone",
        "pace",
    )
}
TORCH = {"retrieval/embedding.py", "finetune/prefer.py", "finetune/probe.py", "finetune/hardware.py", *TRAINER}
TORCH |= {
    f"bot/{name}.py"
    for name in ("engine", "decoding", "forward", "packed", "pool", "versions", "probe", "low_rank", "linear")
}
TORCH |= {f"bot/{name}.py" for name in ("adapters", "models", "reading")}
LANGCHAIN = {"bot/chat.py", "bot/langchain_model.py", "finetune/chat_model.py"}
FILES = sorted(path.relative_to(ROOT) for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """The dotted names that a file imports, wherever in it: `bot.engine` for each form of importing it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            package = (ROOT / (node.module or "").replace(".", "/")).is_dir()
            found |= {f"{node.module}.{alias.name}" if package else str(node.module) for alias in node.names}
    return found


def under(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in allowed)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_file_imports_only_what_is_below_it(file: Path) -> None:
    names = imports(file)
    ours = {name for name in names if name.split(".")[0] in OURS | {"tests", "bench"}}
    allowed = MAY[file.parts[0]]
    if file.name == "__main__.py":
        allowed = OURS - {"finetune", "scheduler"} if file.parts[0] == "bot" else OURS
    if file.parts[0] == "configs":
        allowed = {"configs"}
    assert {name for name in ours if not under(name, allowed)} == set()
    if str(file) not in TORCH:
        assert {name for name in names if name.split(".")[0] == "torch"} == set()
    if file.parts[0] != "retrieval" and str(file) not in LANGCHAIN:
        assert {name for name in names if name.startswith("langchain")} == set()


@pytest.mark.parametrize("file", sorted(TRAINER | {"finetune/errors.py"}))
def test_the_trainer_needs_nothing_of_other_folders_but_how_a_turn_ends_and_no_other_library(file: str) -> None:
    libraries = {"torch", "transformers", "peft", "safetensors", "accelerate"}
    parts = {name.removesuffix(".py").replace("/", ".") for name in TRAINER} | {"finetune.errors", "store.turns"}
    names = {name for name in imports(Path(file)) if not under(name, parts)}
    assert {name.split(".")[0] for name in names} <= libraries | sys.stdlib_module_names
