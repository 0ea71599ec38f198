"""Personal data in what people typed -> placeholders like <EMAIL> (pure).

Own patterns, with checksums where the numbers have them, so that a version or an order number is left alone: e-mail
addresses, telephone numbers, IBANs (ISO 13616, mod 97), payment cards (Luhn), Swiss and US social security numbers,
secret keys. Telephone numbers have no checksum: what might number a thing as well counts as one unless the word before
it says that it does. Names of people are not recognised; `presidio()` is a second opinion that knows some (extra
`presidio`).
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from store.errors import Unavailable

Redact = Callable[..., str]
"""Takes a text and, as `public`, what was shown anyway; gives the text without personal data."""
KINDS = ("PERSON", "PHONE_NUMBER", "MEDICAL_LICENSE", "US_PASSPORT", "US_ITIN", "UK_NHS", "CRYPTO")
"""What Presidio is asked for. Places, dates and organisations are no one's secret, and a question lives by them."""
SURE = 0.4
"""Presidio's score from which a finding counts; a telephone number has this much."""
_LANGUAGE = "en"

_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|gh[opusr]|glpat|xox[abp])[-_][A-Za-z0-9_-]{16,}\b|\bAKIA[0-9A-Z]{16}\b"
    r"|\bgithub_pat_\w{16,}|\bhf_[A-Za-z0-9]{16,}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}"
)
_IBAN = re.compile(
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b|\b[A-Za-z]{2}\d{2}[A-Za-z0-9]{11,30}\b"
    r"|\b[a-z]{2}\d{2} [a-z0-9]{4}(?: \d[a-z0-9]{3}){1,6}(?: \d[a-z0-9]{0,2})?\b"
)
"""Small letters in one piece, or in groups that begin with a digit, so that no word after it is taken along."""
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_AHV = re.compile(r"\b756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}\b")
_SSN = re.compile(r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b")
_BEFORE = r"(?:(?<![\w.,/:-])|(?<=[A-Za-z]:))"
"""A telephone number may stand behind `tel:`, but not behind a time."""
_PHONE = re.compile(
    _BEFORE + r"(?:\+|00)[1-9]\d{0,2}[ ./-]?(?:\(\d{1,4}\)[ ./-]?)?\d{1,4}(?:[ ./-]?\d{2,4}){2,4}(?![\w-])"
)
_MONTHS = r"(?:0[1-9]|1[0-2])[/-](?:19|20)\d\d ?- ?(?:0[1-9]|1[0-2])(?![ -]?\d)"
"""From a month to another one, `01/2023-12/2023`, which is no telephone number."""
_LOCAL = re.compile(
    _BEFORE + r"(?!" + _MONTHS + r")(?:\(0?\d{2,4}\)|0\d{1,3})[ /-]\d{3,4}(?:[ -]\d{2,4}){1,3}(?![\w-])"
)
_GROUPED = r"(?:1[.-])?[2-9]\d\d(?P<between>[.-])\d{3}(?P=between)\d{4}"
_BARE = re.compile(rf"{_BEFORE}(?:(?!0123456789)0[1-9]\d{{8,9}}|0[1-9]\d{{1,3}}/\d{{5,8}}|{_GROUPED})(?![\w/-]|[.,]\d)")
"""What may number a thing as well: `0791234567`, `079/1234567`, `555-123-4567`."""
_OF_THINGS = re.compile(
    r"\b(?:ISBN(?:-10)?|EAN|SKU|ID|code|(?:order|invoice|serial|part|article|item|ticket|batch|lot|model|error|customer)"
    r"(?: (?:number|no|nr))?|(?:Bestell|Rechnungs|Artikel|Serien|Teile|Auftrags|Kunden)-?(?:nummer|Nr))[\s.:#]{0,3}\Z",
    re.IGNORECASE,
)
_LONGEST = 30
"""Characters of such a word with what stands behind it."""


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def luhn(number: str) -> bool:
    """Whether the digits of a number pass Luhn's check (ISO/IEC 7812-1)."""
    digits = [int(digit) for digit in _digits(number)]
    doubled = [digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits))]
    return len(digits) >= 13 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def iban(text: str) -> bool:
    """Whether a text is an IBAN by its checksum (ISO 13616: mod 97 is 1)."""
    bare = text.replace(" ", "")
    if not 15 <= len(bare) <= 34:
        return False
    return int("".join(str(int(letter, 36)) for letter in bare[4:] + bare[:4])) % 97 == 1


def ean(number: str) -> bool:
    """Whether 13 digits pass the check of EAN-13, which Swiss social security numbers use."""
    digits = [int(digit) for digit in _digits(number)]
    return len(digits) == 13 and sum(d * (3 if place % 2 else 1) for place, d in enumerate(digits)) % 10 == 0


def _always(_: re.Match[str]) -> bool:
    return True


def _by(check: Callable[[str], bool]) -> Callable[[re.Match[str]], bool]:
    return lambda match: check(match.group())


def _of_nothing(match: re.Match[str]) -> bool:
    """Whether no word before digits says what else they number, like ISBN or order."""
    return _OF_THINGS.search(match.string[max(0, match.start() - _LONGEST) : match.start()]) is None


_PATTERNS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]], ...] = (
    ("SECRET", _SECRET, _always),
    ("EMAIL", _EMAIL, _always),
    ("IBAN", _IBAN, _by(iban)),
    ("SOCIAL_SECURITY_NUMBER", _AHV, _by(ean)),
    ("CARD", _CARD, _by(luhn)),
    ("SOCIAL_SECURITY_NUMBER", _SSN, _always),
    ("PHONE", _PHONE, _always),
    ("PHONE", _LOCAL, _always),
    ("PHONE", _BARE, _of_nothing),
)


_SIGNS = tuple(
    re.compile(sign)
    for sign in (
        r"\d[\d ./()-]{4,}\d",
        r"@",
        r"[A-Za-z]{2}\d\d",
        r"(?:sk|pk|rk|gh[opusr]|glpat|xox[abp])[-_]|github_pat_|hf_|AKIA|eyJ",
    )
)
"""Whatever a pattern finds holds one of these, which are found faster."""


@lru_cache(maxsize=256)
def _harmless(text: str) -> bool:
    """Whether nothing in a text looks like personal data; the bot's own instructions come with every exchange."""
    return not any(sign.search(text) for sign in _SIGNS)


def redact(text: str, *, public: str = "") -> str:
    """`text` with personal data replaced; what also stands in `public` (the shown passages) is no secret and stays."""
    if _harmless(text):
        return text
    for name, pattern, holds in _PATTERNS:
        text = pattern.sub(
            lambda match, name=name, holds=holds: (  # type: ignore[misc]
                match.group() if match.group() in public or not holds(match) else f"<{name}>"
            ),
            text,
        )
    return text


def presidio(model: str) -> Redact:
    """Microsoft Presidio beside `redact`: names of people, and numbers of kinds that have no pattern here.

    `model` is the spaCy pipeline that reads the names, a package or a folder. Raises Unavailable where it or the extra
    is not installed: nothing is downloaded. It is loaded at the first text.
    """
    if find_spec("presidio_analyzer") is None or not _installed(model):
        raise Unavailable(
            f"training.redact is presidio, which needs the extra `presidio` and the spaCy pipeline {model}.",
            "Install both, name another pipeline (training.redact_model), or set training.redact to patterns.",
        )
    analyzer = cache(lambda: _analyzer(model))

    def replaced(text: str, *, public: str = "") -> str:
        seen = analyzer().analyze(text=text, language=_LANGUAGE, entities=list(KINDS), score_threshold=SURE)
        found = sorted(seen, key=lambda one: (one.start, -one.end))
        kept = [one for one in found if text[one.start : one.end] not in public]
        apart = kept[:1] + [second for first, second in pairwise(kept) if second.start >= first.end]
        for one in reversed(apart):
            text = f"{text[: one.start]}<{one.entity_type}>{text[one.end :]}"
        return redact(text, public=public)

    return replaced


def _installed(pipeline: str) -> bool:
    try:
        return bool(distribution(pipeline))
    except (PackageNotFoundError, ValueError):
        return Path(pipeline).is_dir()


def _analyzer(model: str) -> Any:
    from presidio_analyzer import AnalyzerEngine  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: PLC0415

    models = [{"lang_code": _LANGUAGE, "model_name": model}]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models}).create_engine()
    return AnalyzerEngine(nlp_engine=engine, supported_languages=[_LANGUAGE])


REDACTORS: dict[str, Callable[[str], Redact]] = {
    "patterns": lambda _: redact,
    "presidio": presidio,
    "off": lambda _: lambda text, *, public="": text,
}
"""What makes a redactor, by the name that the settings give it, from the name of presidio's language model."""
