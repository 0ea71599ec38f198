"""Whether two questions are one, put in nearly the same words (pure).

All words are compared, in their order: prepositions, pronouns, negations, numbers and signs too. Only a plural's s,
capitals, contractions, a few fillers and the ways to begin a question are passed over, except in what its capitals tell
to be a name: US and Windows are not us and a window. Punctuation is passed over where it ends or sets apart words, not
where it is a sign: `!=` and `$(name)`. It knows words, not meanings: a paraphrase is another question, and so is one
with any further word.
"""

import re
import unicodedata
from itertools import pairwise

_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*"
    r"|(?<!\w)[-.](?=\w)"  # A sign, or the dot of a file's name; between words both are punctuation.
    r"|[!:](?=[^\s.,;:!?…\"'“”„‘’«»‹›()\]}`*。、،؟।-])|!(?=\()|:(?=:)"  # Glued to what comes next: != and a:b.
    r"|(?<=[^\s.,;:!?\"'“„‘«‹(`])\("  # Glued to what stands before: f(x); else it sets an aside apart.
    r"|\[(?!\w+(?: \w+)+\])"  # Several words in square brackets are an aside too.
    r"|[^\s\w.,;:!?¿¡…\"'“”„‘«»‹›()\[\]}`。、،؟।-]|_"
)
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿⁱ]+")
_WIDE = str.maketrans({"！": "! ", "：": ": ", "（": " ("})
"""Full-width punctuation has its blank inside."""
_SAME = {"does": "do", "are": "is", "were": "was", "has": "have", "cannot": "can not", "can't": "can not"}
_SAME |= {"won't": "will not", "an": "a"}
_IS = re.compile(r"^(what|who|where|when|why|how|which|that|there|it)'s$")
_ENDINGS = (("n't", " not"), ("'re", " are"), ("'m", " am"), ("'ve", " have"), ("'ll", " will"))
_FILLERS = frozenset(("please", "kindly", "exactly", "currently", "actually"))
_ARTICLES = frozenset(("the", "a"))
_TURNED = frozenset(("few", "little", ""))
"""Before these an article counts: a few users are some, few users are hardly any. As the last word it is no article."""
_NO_NOUNS = frozenset(
    (
        *("is", "was", "do", "have", "not", "and", "or", "but", "than", "as"),
        *("in", "of", "to", "for", "from", "with", "on", "at", "by"),
    )
)
"""Before these an a is no article but the name of something, as in vitamin a."""
_OPENINGS = tuple(
    tuple(opening.split())
    for opening in (
        *("hello", "hi", "hey", "good morning", "good afternoon", "good evening", "tell me"),
        *("can you tell me", "could you tell me", "would you tell me", "will you tell me"),
        *("i would like to know", "i'd like to know", "i want to know"),
    )
)
_NO_PLURALS = frozenset(
    (
        *("arms", "besides", "clothes", "customs", "earnings", "funds", "goods", "grounds", "jeans", "lens", "manners"),
        *("means", "news", "odds", "pants", "premises", "proceeds", "sales", "savings", "securities", "shorts"),
        *("spirits", "terms", "utilities", "economics", "electronics", "ethics", "graphics", "logistics", "mechanics"),
        *("physics", "politics", "statistics"),
    )
)
"""Words that mean something else than what is left without their s."""
_ENDS = (("thanks",), ("thank", "you"))
_HOW = (("how", "do", "i"), ("how", "can", "i"), ("how", "to"))

Words = tuple[str, ...]


def wording(question: str) -> Words:
    """The words by which a question is compared, in order; two with the same are one question. Empty for none."""
    raised = _RAISED.sub(r"^\g<0>", question.translate(_WIDE))
    text = unicodedata.normalize("NFKC", raised).replace("’", "'").strip()
    tokens = _TOKEN.findall(text[:1].lower() + text[1:])
    found = [word for n, token in enumerate(tokens) for word in _spelt(token, first=n == 0)]
    kept = tuple(word for word, after in pairwise([*found, ""]) if not _passed_over(word, after))
    begins = 0
    while opening := next((one for one in _OPENINGS if kept[begins : begins + len(one)] == one), None):
        begins += len(opening)
    kept = kept[begins:]
    kept = next((kept[: -len(one)] for one in _ENDS if kept[-len(one) :] == one), kept)
    how = next((one for one in _HOW if kept[: len(one)] == one), None)
    return tuple(map(_singular, kept)) if how is None else ("how to", *map(_singular, kept[len(how) :]))


def _passed_over(word: str, after: str) -> bool:
    if word == "a" and after in _NO_NOUNS:
        return False
    return word in _FILLERS or (word in _ARTICLES and after not in _TURNED)


def _spelt(token: str, *, first: bool) -> list[str]:
    """A word without capitals, its contraction undone, except a name.

    A capital A is one, as in vitamin A, and except as the first word so are several capitals and a capitalised plural.
    """
    if token == "A":
        return ["A"]
    word = token.casefold()
    word = _IS.sub(r"\1 is", _SAME.get(word, word))
    for ending, whole in _ENDINGS:
        word = word.removesuffix(ending) + whole if word.endswith(ending) else word
    parts = [_SAME.get(part, part) for part in word.split()]
    plural = token[0].isupper() and (word,) not in _ENDS and any(_singular(part) != part for part in parts)
    return [token] if not first and (plural or sum(map(str.isupper, token)) > 1) else parts


def _singular(word: str) -> str:
    """A word without a plural's s, by Harman's rules (1991); short words, names and genitives stay as they are."""
    if (
        len(word) < 4
        or word in _NO_PLURALS
        or not word.islower()
        or not word.isalpha()
        or not word.endswith("s")
        or word.endswith(("us", "ss"))
    ):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    return word[:-1]
