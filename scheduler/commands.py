"""The commands that look for faults and tasks, what `once` prints, and the file that `classify` reads.

`__main__` parses the arguments and wires what they work with.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from scheduler import adoption, trouble
from scheduler.tasks import Item
from scheduler.workbench import Workbench
from store.errors import Invalid
from store.lines import text_lines
from store.models import Cycle, CycleState
from store.rankings import RankingState

ACTOR = "command"


def faults(options: argparse.Namespace, bench: Workbench) -> None:
    """Print where it hurts, and what admins can act on."""
    show(trouble.faults_now(bench), as_json=options.json)


def discover(options: argparse.Namespace, bench: Workbench) -> None:
    """Print the tasks that the taxonomy lacks, or make one of them a task."""
    if options.adopt is None:
        if options.name or options.description or options.comment:
            raise Invalid("--name, --description and --comment go with --adopt NAME.")
        show(adoption.discovered_now(bench), as_json=options.json)
        return
    said = {"name": options.name, "description": options.description, "comment": options.comment}
    show(adoption.adopt(bench, options.adopt, **said, actor=ACTOR), as_json=options.json)


def show(content: dict[str, Any], *, as_json: bool) -> None:
    """Print one JSON document, or its text."""
    print(json.dumps(content) if as_json else content["text"])


def items(file: Path) -> list[Item]:
    """The lines of a file of questions; raises NotFound or Invalid, which names the line."""
    found = []
    for number, line in text_lines(file):
        try:
            row = json.loads(line)
            passages = [p["text"] if isinstance(p, dict) else p for p in row.get("passages") or []]
            said = [row["question"], row.get("answer") or "", *passages]
            if not all(isinstance(text, str) for text in said):
                raise TypeError("question, answer and passages are texts")
            found.append(Item(said[0], said[1], tuple(passages)))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise Invalid(
                f'{file}, line {number}: {error}; expected {{"question": …, "answer"?, "passages"?}}.'
            ) from error
    return found


def shown(row: Cycle) -> dict[str, Any]:
    """A cycle as plain values."""
    return {
        "id": row.id,
        "state": row.state,
        "outcome": row.outcome,
        "adapter": row.adapter_id,
        "plan": row.plan,
        "results": row.results,
        "error": row.error,
    }


def contenders(row: Cycle) -> list[str]:
    """A line for each way of training that a tournament tried, and one for what was kept."""
    lines = []
    for one in row.results.get("train", {}).get("variants", []):
        rounds = [f"{part['steps']} steps on {part['share']:.0%}, loss {part['loss']:.3f}" for part in one["rounds"]]
        lines.append(f"{one['adapter']}, {one['name']}: {'; '.join(rounds)}. {one['left']}".rstrip())
    if won := row.results.get("gate", {}).get("winner"):
        lines.append(f"Kept: {won['adapter']}, {won.get('variant', '')}. {won['why']}".rstrip())
    return lines


def summary(row: Cycle) -> str:
    """A cycle as lines to print, with what to do next."""
    lines = [f"cycle {row.id}: {row.state}" + (f", {row.outcome}" if row.outcome else "")]
    lines += [f"  {reason}" for reason in row.plan.get("reasons", [])[:3]]
    lines += [f"  {sentence}" for sentence in row.plan.get("data_needed", [])[:3]]
    lines += [f"  {line}" for line in contenders(row)]
    lines += [f"  {reason}" for reason in row.results.get("gate", {}).get("reasons", [])]
    fitted = row.results.get("rank", {})
    if fitted.get("state") == RankingState.AWAITING_APPROVAL:
        lines.append(f'  weights: python -m retrieval weights approve {fitted["ranking"]} --comment "…"')
    if row.state == CycleState.AWAITING_APPROVAL:
        lines.append(f'  approve it: python -m store approve {row.adapter_id} --comment "…"')
    return "\n".join(lines)
