"""Claims about passages: exact offsets for any text, and nothing that fits is cut."""

import random

import pytest

from retrieval.passages import Piece, split
from tests.conftest import ROOT

PAGES = sorted((ROOT / "docs" / "handbook").glob("*.md"))
KINDS = ["text/markdown", "text/plain", "application/pdf", "text/x-python", "text/html", "text/csv"]
BLOCKS = [
    "# Heading\n", "## Part\n", "", "Some prose. It goes on! Does it? Yes.\n", "word " * 60 + "\n", "- item\n  more\n",
    "  - inner\n", "1. first\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "```\ncode\n\n# no heading\n```\n", "~~~~\n```\n",
    "\f", "Zürich 🎟️\n", "   \n", "def f():\n    return 1\n", "x" * 300, "\u2028", "|-|\n",
]  # fmt: skip


def pieces_of(text: str, limit: int = 200, media_type: str = "text/markdown") -> list[Piece]:
    return split(text, title="T", media_type=media_type, limit=limit)


def check(text: str, pieces: list[Piece], limit: int) -> None:
    assert all(text[piece.start : piece.end] == piece.text and len(piece.text) <= limit for piece in pieces)
    assert all(one.start < two.start and one.end < two.end for one, two in zip(pieces, pieces[1:], strict=False))


@pytest.mark.parametrize("limit", [200, 1_000])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_offsets_are_exact_on_every_page_of_the_handbook(page, limit: int) -> None:
    text = page.read_text()
    check(text, pieces_of(text, limit), limit)


@pytest.mark.parametrize("seed", range(60))
def test_offsets_are_exact_and_nothing_is_lost_for_any_text(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choice(["", "\n"]) + chance.choice(BLOCKS) for _ in range(chance.randrange(1, 60)))
    media_type = chance.choice(KINDS)
    pieces = pieces_of(text, 200, media_type)
    check(text, pieces, 200)
    covered = {at for piece in pieces for at in range(piece.start, piece.end)}
    left = "".join(char for at, char in enumerate(text) if at not in covered and not char.isspace())
    assert left.replace("#Heading", "").replace("##Part", "").replace("#noheading", "").strip("#") == ""


def test_a_table_that_is_cut_has_its_header_in_each_title() -> None:
    rows = "".join(f"| town {n} | {n} |\n" for n in range(40))
    pieces = pieces_of(f"# T\n\n## Towns\n\nBefore.\n\n| Name | km |\n|---|---|\n{rows}\nAfter.\n")
    assert pieces[0].title == "T > Towns" and "| Name | km |" in pieces[0].text
    assert len(pieces) > 3 and {piece.title for piece in pieces[1:]} == {"T > Towns > Name | km"}
    lines = [line for piece in pieces for line in piece.text.splitlines() if "town" in line]
    assert lines == rows.splitlines()


def test_list_items_stay_whole_with_what_is_nested_in_them() -> None:
    items = [f"- item {n} begins here\n  and goes on there\n  - inner {n}\n" for n in range(12)]
    pieces = pieces_of("Intro:\n" + "".join(items))
    assert len(pieces) > 2
    assert all(any(item.strip() in piece.text for piece in pieces) for item in items)


def test_only_a_paragraph_that_had_to_be_cut_overlaps_and_by_whole_sentences() -> None:
    short = [f"Paragraph {n} is short." for n in range(30)]
    apart = pieces_of("\n\n".join(short))
    assert all(one.end <= two.start for one, two in zip(apart, apart[1:], strict=False))
    long = " ".join(f"Sentence {n} is here." for n in range(40))
    lapped = pieces_of(long)
    assert all(one.end > two.start for one, two in zip(lapped, lapped[1:], strict=False))
    assert all(piece.text.startswith("Sentence") and piece.text.endswith(".") for piece in lapped)


def test_a_longer_fence_holds_a_shorter_one() -> None:
    fence = "````markdown\n```\ncode\n```\n\n# not a heading\n````"
    pieces = pieces_of(f"{'Words. ' * 20}\n\n{fence}\n\n{'Words. ' * 20}")
    assert {piece.title for piece in pieces} == {"T"} and any(fence in piece.text for piece in pieces)


def test_large_texts_take_seconds_not_minutes() -> None:
    for text in ("- item\n" * 50_000, "".join(" " * n + "- a\n" for n in range(700)), "|-" * 200_000, "\n" * 300_000):
        check(text, pieces_of(text, 1_000), 1_000)


def test_a_heading_is_read_in_the_time_that_its_length_takes() -> None:
    blanks = " " * 200_000
    [first, second] = pieces_of(f"# Aare {blanks}x\nIt is long.\n## Rhine ##\nIt is longer.\n", limit=1000)
    assert first.title.startswith("T > Aare ") and second.title.endswith(" > Rhine")


def test_a_heading_with_nothing_under_it_is_a_passage_of_its_own() -> None:
    text = "# Emergency\n\n## Fire brigade: dial 112\n## Reception: dial 9\nAsk for Ann.\n\n## No refunds\n"
    pieces = pieces_of(text)
    check(text, pieces, 200)
    assert [(piece.title, piece.text) for piece in pieces] == [
        ("T > Emergency", "## Fire brigade: dial 112"),
        ("T > Emergency > Reception: dial 9", "Ask for Ann."),
        ("T > Emergency", "## No refunds"),
    ]
