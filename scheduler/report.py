"""What the log says people ask for: the task distribution and the character of questions and answers (pure).

It reads plain rows, labelled already; it knows no database, no model and no task by name. `report_text` prints it.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from scheduler.tasks import UNCLASSIFIED
from scheduler.trends import Dated, Drift, Week, drift, weeks

RANKS = ("primary", "secondary", "tertiary")
LENGTHS = ((80, "short"), (200, "medium"), (500, "medium-long"))
"""Average answer lengths in characters below which an answer counts as such; above all of them it is long."""
RECOMMENDED_SHARE = 0.05
TOP_TERMS = 8
STRUCTURED_SHARE = 0.3

_HOW_TO = re.compile(
    r"\bhow (?:do|can|could|should|would|to|must|might)\b|\bwhat (?:are the steps|should i do|do i (?:need|have) to)\b"
    r"|\b(?:steps to|walk me through|guide me|show me how|help me (?:to )?\w+|is there a way to)\b",
    re.IGNORECASE,
)
_DEFINITION = re.compile(
    r"^\W*(?:so |and |please |can you |could you )*(?:what(?:'s| is| are)|who (?:is|are)|define|explain|describe"
    r"|tell me about|meaning of)\b|\bdifference between\b|\bwhat .+ means?\b",
    re.IGNORECASE,
)
_LIST = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S", re.MULTILINE)
_TERM = re.compile(r"[A-Za-z][A-Za-z0-9+#-]{2,}")
_STOP = frozenset(
    """the and for that with this from are was were not you your can could will would should may might must has have had
    its his her their our they them then than there here when where which who what why how all any each more most some
    such only also into onto over under out off one two use used uses using does did done doing but about after before
    between both been being because per via very just like get got make made many much other same see set she him these
    those too until while within without yes no find document documents answer passage passages guide""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class ReportRow:
    """One exchange as the report reads it; `rating` is "up", "down" or None."""

    question: str
    answer: str
    label: str
    scores: Mapping[str, float] = field(default_factory=dict)
    rating: str | None = None
    has_passages: bool = False
    created_at: datetime | None = None
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskLine:
    """One task of the distribution: `count` exchanges have it as primary label; `mean_score` is over all exchanges."""

    name: str
    count: int
    share: float
    mean_score: float
    ups: int = 0
    downs: int = 0
    usable: int = 0
    held_out: int = 0

    @property
    def satisfaction(self) -> float | None:
        """Thumbs up among all ratings, or None when nobody rated."""
        return self.ups / (self.ups + self.downs) if self.ups + self.downs else None


@dataclass(frozen=True)
class TaskReport:
    """The analysis of a log; shares are in [0, 1], lengths in characters, `tasks` most frequent first."""

    exchanges: int
    tasks: tuple[TaskLine, ...] = ()
    recommended: tuple[str, ...] = ()
    average_length: float = 0.0
    length_class: str = ""
    how_to_share: float = 0.0
    definition_share: float = 0.0
    other_share: float = 0.0
    terms: tuple[str, ...] = ()
    structured_share: float = 0.0
    code_share: float = 0.0
    passages_share: float = 0.0
    unclassified: int = 0
    oldest: str | None = None
    newest: str | None = None
    weeks: tuple[Week, ...] = ()
    drift: Drift | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, with every task's satisfaction and rank."""
        plain = asdict(self)
        ranks = dict(zip(self.recommended, RANKS, strict=False))
        for line, values in zip(self.tasks, plain["tasks"], strict=True):
            values |= {"satisfaction": line.satisfaction, "rank": ranks.get(line.name)}
        plain["structured"] = self.structured_share >= STRUCTURED_SHARE
        return plain


def analyse(
    rows: Sequence[ReportRow],
    *,
    tasks: Sequence[str] = (),
    usable: Mapping[str, int] | None = None,
    held_out: Mapping[str, int] | None = None,
    last_cycle: datetime | None = None,
) -> TaskReport:
    """Analyse a log. `tasks` is the taxonomy's order (it breaks ties and shows tasks that nobody asks for).

    `usable` and `held_out` are the curated examples per task, training and held-out; drift is what changed since
    `last_cycle`.
    """
    names = list(dict.fromkeys([*tasks, *(row.label for row in rows if row.label != UNCLASSIFIED)]))
    lines = [_line(name, rows, (usable or {}).get(name, 0), (held_out or {}).get(name, 0)) for name in names]
    ordered = tuple(sorted(lines, key=lambda line: -line.count))
    if not rows:
        return TaskReport(0, ordered)
    answers = [row.answer for row in rows if row.answer.strip()]
    average = sum(map(len, answers)) / max(len(answers), 1)
    patterns = Counter(question_pattern(row.question) for row in rows)
    dated = [Dated(row.created_at, row.label, row.rating) for row in rows if row.created_at is not None]
    times = sorted(row.at for row in dated)
    return TaskReport(
        exchanges=len(rows),
        tasks=ordered,
        recommended=tuple(line.name for line in ordered if line.count and line.share >= RECOMMENDED_SHARE),
        average_length=round(average, 1),
        length_class=length_class(average),
        how_to_share=patterns["how-to"] / len(rows),
        definition_share=patterns["definition"] / len(rows),
        other_share=patterns["other"] / len(rows),
        terms=top_terms(rows),
        structured_share=sum(map(structured, answers)) / max(len(answers), 1),
        code_share=sum("```" in answer for answer in answers) / max(len(answers), 1),
        passages_share=sum(row.has_passages for row in rows) / len(rows),
        unclassified=sum(row.label == UNCLASSIFIED for row in rows),
        oldest=times[0].isoformat() if times else None,
        newest=times[-1].isoformat() if times else None,
        weeks=weeks(dated),
        drift=drift(dated, last_cycle),
    )


def _line(name: str, rows: Sequence[ReportRow], usable: int, held_out: int) -> TaskLine:
    mine = [row for row in rows if row.label == name]
    return TaskLine(
        name=name,
        count=len(mine),
        share=len(mine) / len(rows) if rows else 0.0,
        mean_score=round(sum(row.scores.get(name, 0.0) for row in rows) / len(rows), 4) if rows else 0.0,
        ups=sum(row.rating == "up" for row in mine),
        downs=sum(row.rating == "down" for row in mine),
        usable=usable,
        held_out=held_out,
    )


def length_class(characters: float) -> str:
    """short, medium, medium-long or long, by the average length of answers."""
    return next((name for limit, name in LENGTHS if characters < limit), "long")


def question_pattern(question: str) -> str:
    """how-to, definition or other, by how an English question is put."""
    if _HOW_TO.search(question):
        return "how-to"
    return "definition" if _DEFINITION.search(question) else "other"


def structured(answer: str) -> bool:
    """Whether an answer has a list of two or more entries, a heading, a table or code."""
    return "```" in answer or len(_LIST.findall(answer)) >= 2 or bool(re.search(r"^(?:#{1,6} |\|.*\|)", answer, re.M))


def top_terms(rows: Sequence[ReportRow]) -> tuple[str, ...]:
    """The words that most exchanges' titles and answers mention; a title's word counts twice."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(words_of(row.answer))
        counts.update(2 * list(words_of(" ".join(row.titles))))
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return tuple(term for term, _ in ranked[:TOP_TERMS])


def words_of(text: str) -> set[str]:
    """The words of a text that may say what it is about, in lower case: no stop words, none under three letters."""
    return {word.lower() for word in _TERM.findall(text)} - _STOP
