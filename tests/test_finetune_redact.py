"""Claims about redaction: personal data goes, look-alikes and public data stay."""

import random
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from finetune.redact import REDACTORS, presidio, redact
from store.errors import Unavailable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to ann.b+x@mail.example.org now", "write to <EMAIL> now"),
        ("call +41 44 668 18 00 or (044) 668 18 00", "call <PHONE> or <PHONE>"),
        ("call 044-668-18 00 or 01/2034-56 78", "call <PHONE> or <PHONE>"),
        ("card 4111 1111 1111 1111", "card <CARD>"),
        ("account GB82 WEST 1234 5698 7654 32", "account <IBAN>"),
        ("AHV 756.9217.0769.85", "AHV <SOCIAL_SECURITY_NUMBER>"),
        ("SSN 078-05-1120", "SSN <SOCIAL_SECURITY_NUMBER>"),
        ("key sk-abcdEFGH1234567890abcd", "key <SECRET>"),
        ("call 555-123-4567, 1-800-555-1234 or 555.123.4567.", "call <PHONE>, <PHONE> or <PHONE>."),
        ("call 0791234567 or 07911123456, not 079/1234567", "call <PHONE> or <PHONE>, not <PHONE>"),
        (
            "tel:+41 79 123 45 67, Tel:0791234567, phone number 0791234567",
            "tel:<PHONE>, Tel:<PHONE>, phone number <PHONE>",
        ),
        ("iban de89370400440532013000 and mine", "iban <IBAN> and mine"),
        ("at61 1904 3002 3457 3201 from me, gb82 west 1234 5698 7654 32", "<IBAN> from me, <IBAN>"),
        ("hf_abcdefghijklmnopqrstuvwxyz012345 github_pat_11ABCDEFG0abcdefghijkl_mn", "<SECRET> <SECRET>"),
    ],
)
def test_personal_data_becomes_a_placeholder(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4 listens on port 8000 since 2026-11-25 10:22",
        "20,000 passages, learning rate 2e-4, 10-20-30",
        "order 4111 1111 1111 1112 and IBAN-like GB82 WEST 1234 5698 7654 33",
        "AHV-like 756.9217.0769.84",
        "rows 12345678901234567",
        "the decorator @cached and user@localhost",
        "valid from 01/2023-12/2023, renewed 05-2024-12",
        "2.10.0.1234 and 10.0.19045.3803 of 25.11.2026 at 07:45:30.123456",
        "hosts 192.168.100.1234, 10.0.0.1:0800 and 255.255.255.0/24",
        "ISBN 0306406152, ISBN-10: 0306406152, ISBN 978-0-306-40615-7, EAN 0123456789012",
        "order 0791234567, order no. 0791234567, serial number: 0791234567, Artikelnummer 0791234567",
        "part no. 555-123-4567, part 555-123-4567-89, item A555-123-4567, SKU 079/1234567",
        "a population of 1234567890, 5551234567 rows, the digits 0123456789, 0.0791234567",
        "error 0791234567, code 0x80070057, serial 0000123456 and 00001234567",
        "iban-like de89370400440532013001 and sha 4de89370400440532013000",
        "call hf_hub_download and hf_transfer, or gh_pat_of_something",
    ],
)
def test_numbers_without_a_valid_checksum_and_versions_stay(text: str) -> None:
    assert redact(text) == text


PIECES = [
    *("0", "7", "44", "756", "078", "4111", "9217", "123456", "+", "00", "(0", ")", " ", " ", "-", ".", "/", ",", "@"),
    *("ann", "x", "GB82", "WEST", "CH93", "AB", "mail.example", ".org", "AKIAABCDEFGHIJKLMNOP", "sk-", "xoxb_", "ghp_"),
    *(
        "abcdEFGH1234567890",
        "eyJabcdefghijk",
        "lmnopqrst",
        "\n",
        "555",
        "791234567",
        "1234567",
        "hf_",
        "github_pat_",
        "tel:",
    ),
    *("de89", "370400440532013000", "order no. ", "order "),
    *("GB82 WEST 1234 5698 7654 32", "756.9217.0769.85", "078-05-1120", "4111 1111 1111 1111"),
]


def test_the_quick_look_passes_nothing_by_that_the_close_one_would_find() -> None:
    """A text that ends like a key is always looked at closely, and its end is not yet one."""
    chance = random.Random(5)
    texts = ["".join(chance.choices(PIECES, k=chance.randrange(2, 14))) for _ in range(20_000)]
    assert [redact(text) for text in texts] == [redact(f"{text} sk-").removesuffix(" sk-") for text in texts]
    found = {kind for text in texts for kind in re.findall("<([A-Z_]+)>", redact(text))}
    assert found == {"EMAIL", "PHONE", "SECRET", "IBAN", "CARD", "SOCIAL_SECURITY_NUMBER"}


def test_what_the_passages_say_anyway_is_no_secret() -> None:
    text = "Ask desk@example.org or me@example.org."
    assert redact(text, public="Contact: desk@example.org") == "Ask desk@example.org or <EMAIL>."


def test_redaction_can_be_turned_off() -> None:
    assert REDACTORS["off"]("")("me@example.org", public="") == "me@example.org"


def test_presidio_says_what_it_needs_and_downloads_nothing() -> None:
    with pytest.raises(Unavailable, match="needs the extra `presidio` and the spaCy pipeline no_such_pipeline") as told:
        presidio("no_such_pipeline")
    assert "training.redact_model" in told.value.hint


@pytest.mark.skipif(find_spec("presidio_analyzer") is None, reason="the extra `presidio` is not installed")
def test_presidio_takes_names_and_leaves_places_and_what_was_shown(tmp_path: Path) -> None:
    import spacy

    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    kinds = {"Ada Byron": "PERSON", "Paris": "GPE", "2019": "DATE", "Acme": "ORG"}
    ruler.add_patterns([{"label": kind, "pattern": text} for text, kind in kinds.items()])
    pipeline.to_disk(tmp_path / "pipeline")
    hidden = presidio(str(tmp_path / "pipeline"))
    asked = "I am Ada Byron of Acme, ada@example.org. Was Paris cold in 2019?"
    assert hidden(asked) == "I am <PERSON> of Acme, <EMAIL>. Was Paris cold in 2019?"
    assert hidden("Who is Ada Byron?", public="Ada Byron wrote it.") == "Who is Ada Byron?"
