"""Held-out questions as other settings of retrieval would have asked them: a cheaper fix that training competes with.

What serves answers them, over more passages than the settings say and over the best one alone. Questions that came
with their passages have no retrieval to change, and verified answers are left out: they are what is right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlmodel import col, select

from bot.prompt import Messages, fitted
from finetune.jobs import read_rows
from retrieval.library import as_shown
from scheduler.dataset_files import write_rows
from scheduler.workbench import Workbench
from store.models import Exchange

FILE = "refetched.jsonl"
MORE = 2
"""As many passages more than the settings say."""
CHARACTERS_PER_TOKEN = 3
"""Fewer than a tokenizer packs into a token of prose, so that a prompt that seems to fit does."""

Row = dict[str, Any]
Search = Callable[[str, int], list[Row]]
"""A query and how many passages -> passages as a prompt shows them."""


def ways(passages: int, logged: int | None = None) -> dict[str, int]:
    """How many passages are shown instead of `passages`, by what that is called.

    `logged` is the most that the candidate's questions came with, where the setting was another then.
    """
    before = passages if logged is None else logged
    more = {f"what serves, shown {passages + MORE} passages instead of {before}": passages + MORE}
    return more | ({"what serves, shown the best passage alone": 1} if passages > 1 else {})


def asked_anew(
    rows: Sequence[Row], queries: Mapping[str, str], search: Search, *, passages: int, budget: int
) -> Iterator[Row]:
    """The held-out rows whose query is known, searched for anew: one for each way, which stands in `what`.

    The passage that answered is found again by its text; `gold` is None where it is not shown any more.
    """
    known = [row for row in rows if row["id"] in queries]
    logged = max((len(row["passages"]) for row in known), default=passages)
    for what, count in ways(passages, logged).items():
        for row in known:
            yield {**row, "what": what, **_shown(row, search(queries[row["id"]], count), budget)}


def _shown(row: Row, found: list[Row], budget: int) -> Row:
    messages, kept, _ = fitted(row["question"], found, row["messages"][1:-1], budget=budget, count=_most_tokens)
    texts = [passage["text"] for passage in kept]
    right = row["passages"][row["gold"] - 1] if row["gold"] else ""
    gold = next((n for n, text in enumerate(texts, start=1) if right and text.startswith(right)), None)
    return {"messages": messages, "passages": texts, "titles": [one["title"] for one in kept], "gold": gold}


def _most_tokens(messages: Messages) -> int:
    return sum(len(message["content"]) for message in messages) // CHARACTERS_PER_TOKEN


def write(bench: Workbench, cases: Path) -> str:
    """Search for a cycle's held-out cases anew and write them beside them; the file, or "" where none searched."""
    rows = read_rows(cases)[: bench.alternative_cases]
    if not rows:
        return ""
    with bench.database.read() as session:
        wanted = select(Exchange.id, Exchange.search_query, Exchange.question).where(
            col(Exchange.id).in_([row["id"] for row in rows]), col(Exchange.given).is_(False)
        )
        queries = {key: query or question for key, query, question in session.exec(wanted)}
    if not queries:
        return ""
    with closing(bench.index()) as index:

        def search(query: str, count: int) -> list[Row]:
            return as_shown([hit for hit in index.search(query, count) if hit.score >= bench.min_score])

        budget = bench.context_tokens - bench.answer_tokens
        made = list(asked_anew(rows, queries, search, passages=bench.passages, budget=budget))
    file = cases.with_name(FILE)
    write_rows(file, made)
    return str(file)
