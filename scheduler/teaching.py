"""Asks the teacher model about answers that people disliked and nobody corrected; off unless the settings name one."""

from typing import Any

from finetune.teacher import Teacher, teacher
from scheduler.steps import renewed
from scheduler.workbench import Workbench
from store import cycles, taught
from store.errors import Invalid


def ask(bench: Workbench, claim: cycles.Claim, *, made: Teacher | None = None) -> dict[str, Any]:
    """Ask the teacher of the settings, or `made`, and keep what it says; how many it answered, and what went wrong.

    A teacher that cannot be asked ends nothing: curation goes on with what people said.
    """
    model, told = str(bench.teacher["model"]), {"taught": 0}
    if not model:
        return {}
    with bench.database.read() as session:
        rows = taught.wanting(session, model=model, most=bench.teacher["answers"])
    with renewed(bench.database, claim, told):
        try:
            asked = made or teacher(bench.teacher)
            for row in rows:
                shown = "\n".join(f"{passage['title']}\n{passage['text']}" for passage in row.passages)
                said = asked([{**one, "content": bench.redact(one["content"], public=shown)} for one in row.messages])
                taught.keep(bench.database, row.id, model=model, text=said)
                told["taught"] += 1
        except Invalid as error:
            return {**told, "teacher": error.message}
    return told
