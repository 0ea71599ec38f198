"""Support of an answer's sentences where the question says half of it: `1889.` alone claims nothing (pure)."""

from finetune.metrics import Support
from finetune.wording import content_words, share_found

TERSE = 2
"""Content words up to which a sentence is judged together with its question. Of right answers of one word that a
passage holds, the fitted judge alone calls half supported, and wrong ones of the same passage just as well."""


def answering(question: str, support: Support) -> Support:
    """`support` for the sentences of an answer to `question`: a terse one is judged with the question before it.

    Only where the passage has every word of it; else it is judged by itself, so that a question whose words are all
    found lends nothing to an answer whose words are not.
    """

    def judged(claim: str, passage: str) -> float:
        said = content_words(claim)
        if len(said) > TERSE or share_found(said, content_words(passage)) < 1:
            return support(claim, passage)
        return support(f"{question} {claim}", passage)

    return judged
