"""Claims, answers, ratings and systems that people judged, read from beside the checkout, with where they came from."""

import json
from dataclasses import dataclass
from typing import Any

from bench.retrieval_sets import DATA
from finetune.perturbations import Honest
from store.answers import without_citations

SYSTEMS = ("fid", "gpt35", "chatgpt", "gpt4", "newbing")


@dataclass(frozen=True)
class Labelled:
    """A claim with its references and whether people found it supported; `source` is the set it came from."""

    claim: str
    references: tuple[str, ...]
    question: str
    source: str
    yes: bool


def attribution() -> list[Labelled]:
    """AttributionBench, dev: 1,198 claims from four sources."""
    rows = [json.loads(line) for line in (DATA / "attributionbench" / "dev.jsonl").read_text().splitlines()]
    return [
        Labelled(
            row["claim"],
            tuple(row["references"]),
            row["question"],
            row["src_dataset"],
            row["attribution_label"] == "attributable",
        )
        for row in rows
    ]


def _expertqa() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / "expertqa" / "rand_val.jsonl").read_text().splitlines()]


def expert_claims(*, without: frozenset[str] = frozenset()) -> list[Labelled]:
    """ExpertQA's claims with evidence: complete support is yes, partial or incomplete is no, other labels are left out.

    Questions in `without` are left out: AttributionBench has some of the same.
    """
    found = []
    for row in _expertqa():
        for answer in row["answers"].values():
            for claim in answer["claims"]:
                told = claim["support"] in ("Complete", "Partial", "Incomplete") and claim["evidence"]
                if told and row["question"] not in without:
                    texts = tuple(claim["evidence"])
                    yes = claim["support"] == "Complete"
                    found.append(Labelled(claim["claim_string"], texts, row["question"], "ExpertQA", yes))
    return found


def expert_answers(*, most: int = 400) -> list[Honest]:
    """ExpertQA's answers as experts revised them: the claims they found completely supported, over their evidence."""
    found = []
    for row in _expertqa():
        for answer in row["answers"].values():
            told = [c for c in answer["claims"] if c["support"] == "Complete" and c["evidence"]]
            texts = tuple(dict.fromkeys(e for c in told for e in c["evidence"]))
            said = " ".join(without_citations(c["revised_claim"] or c["claim_string"]).strip() for c in told)
            if said and texts:
                found.append(Honest(row["question"], said, texts))
    return found[:most]


def squad_answers(*, articles: slice = slice(None), per_article: int = 40) -> list[Honest]:
    """SQuAD's questions with the span that most people marked, over the paragraph it stands in."""
    found = []
    content = json.loads((DATA / "squad" / "squad-2.0-dev-part.json").read_text())["data"]
    for article in content[articles]:
        asked = [(p["context"], q) for p in article["paragraphs"] for q in p["qas"] if not q["is_impossible"]]
        step = max(1, len(asked) // per_article)
        for context, one in asked[::step][:per_article]:
            answers = one["answers"]
            span = max(dict.fromkeys(answers), key=answers.count)
            found.append(Honest(one["question"].strip(), span, (context,), tuple(dict.fromkeys(answers))))
    return found


RATINGS = {"Excellent": 3.0, "Acceptable": 2.0, "Could be Improved": 1.0, "Bad": 0.0}


@dataclass(frozen=True)
class Rated:
    """A question with a passage and what people rated it, 0 (bad) to 3 (excellent), one rating each."""

    question: str
    passage: str
    ratings: tuple[float, ...]
    source: str


def feedback() -> list[Rated]:
    """FeedbackQA's rated pairs of three collections; the first line of a passage is its title and headings."""
    found = []
    for source in ("UK", "CDC", "Australia"):
        for row in json.loads((DATA / "feedbackqa" / source / "feedback_valid.json").read_text()):
            reference = row["passage"]["reference"]
            title = " > ".join(n for n in [reference["page_title"], *(reference["section_headers"] or [])] if n)
            ratings = tuple(RATINGS[one] for one in row["rating"])
            found.append(Rated(row["question"].strip(), f"{title}\n{reference['section_content']}", ratings, source))
    return found


@dataclass(frozen=True)
class Asked:
    """A question over a paragraph of an article, and whether the paragraph answers it."""

    question: str
    passage: str
    article: str
    yes: bool


def answerable(*, per_article: int = 10_000) -> list[Asked]:
    """SQuAD 2.0's questions, half of which their paragraph does not answer."""
    found = []
    for article in json.loads((DATA / "squad" / "squad-2.0-dev-part.json").read_text())["data"]:
        asked = [(p["context"], q) for p in article["paragraphs"] for q in p["qas"]]
        step = max(1, len(asked) // per_article)
        for context, one in asked[::step][:per_article]:
            found.append(Asked(one["question"].strip(), context, article["title"], not one["is_impossible"]))
    return found


@dataclass(frozen=True)
class System:
    """A system's answer to a question with the accepted ones, and whether people found it right."""

    question: str
    system: str
    answer: str
    reference: str
    yes: bool


def systems() -> list[System]:
    """EVOUNA's NQ: the answers of five systems to questions that are proper, where people judged them."""
    return [
        System(row["question"], name, row[f"answer_{name}"] or "", row["golden_answer"], row[f"judge_{name}"])
        for row in json.loads((DATA / "evouna" / "NQ.json").read_text())
        if not row["improper"]
        for name in SYSTEMS
        if row[f"judge_{name}"] is not None
    ]
