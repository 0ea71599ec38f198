"""What keeps a few people, copies and quarrels from steering training: near-duplicates, votes, bursts (pure).

Questions that share their content words and numbers are near-duplicates, found by MinHash (Broder, 1997) with the
datasketch library. It knows questions, answers and people's ids; it decides nothing about models.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from datasketch import MinHash, MinHashLSH

from finetune.examples import Example, Kind, shown_digest, speaker
from finetune.hearing import Hearing
from finetune.wording import content_words, numbers, share_found
from store.exchanges import Logged

NEAR = 0.75
"""The Jaccard index of content words from which two questions are near-duplicates."""
CANDIDATES = 0.5
"""That from which MinHash looks closer; lower than NEAR, because it guesses."""
SAME_ANSWER = 0.9
OTHER_ANSWER = 0.3
"""Two answers that share less than this of each other's content words say different things."""
PERMUTATIONS = 64
DISAGREE = "held for review: people disagree on the right answer"
OVERRULED = "a reviewer says otherwise"
DISLIKED = "as many people dislike this answer as like it"


Clusters = tuple[str, ...]
"""The names of a question's clusters: the one that it is in, then those of other near-duplicates."""


def fingerprint(question: str) -> str:
    """The key of a question: equal for questions of the same content words and numbers, in any order and case."""
    known = " ".join(sorted({*content_words(question), *(f"#{number}" for number in numbers(question))}))
    return hashlib.sha256(known.encode()).hexdigest()[:24]


class Near:
    """Clusters of near-duplicate questions; each is named by the fingerprint of its first member.

    A question may be near to several that are not near to each other: it joins the first one's cluster, and stands
    beside the others.
    """

    def __init__(self) -> None:
        self._hashed = MinHash(num_perm=PERMUTATIONS)
        self._index = MinHashLSH(threshold=CANDIDATES, num_perm=PERMUTATIONS)
        self._known: dict[str, tuple[Clusters, frozenset[str], frozenset[str]]] = {}

    def of(self, question: str) -> Clusters:
        """The cluster of a question, a new one where none is near; then every other cluster that it is near to."""
        key = fingerprint(question)
        if key in self._known:
            return self._known[key][0]
        words, said = frozenset(content_words(question)), numbers(question)
        self._hashed.clear()
        self._hashed.update_batch([word.encode() for word in sorted(words)])
        found: dict[str, None] = {}
        for near in sorted(self._index.query(self._hashed)):
            (name, *_), other, figures = self._known[near]
            if name not in found and figures == said and _jaccard(words, other) >= NEAR:
                found[name] = None
        clusters = tuple(found) or (key,)
        self._known[key] = (clusters, words, said)
        self._index.insert(key, self._hashed)
        return clusters


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / max(1, len(first | second))


class Votes:
    """Who liked and disliked which answer to which question, and how people correct what they were shown.

    What `hearing` does not hear is counted and has no say. Ask only once everything is counted.
    """

    def __init__(self, hearing: Hearing) -> None:
        self._hearing, self._reviewers = hearing, hearing.reviewers
        self.unheard = hearing.unheard
        self._ratings: dict[bytes, dict[str, tuple[str, str]]] = defaultdict(dict)
        self._written: dict[tuple[str, str], list[Example]] = defaultdict(list)
        self._answers: dict[str, bytes] = {}

    def count(self, row: Logged, cluster: str) -> None:
        """Enter what a person said of an exchange."""
        feedback = row.feedback
        if feedback is None:
            return
        person, at = speaker(feedback)
        self._hearing.enter(row.exchange.id, person, at)
        if feedback.rating is not None:
            key = self._answers[row.exchange.id] = _answer_key(row, cluster)
            self._ratings[key][row.exchange.id] = (person, feedback.rating)

    def enter(self, example: Example, row: Logged, cluster: str) -> None:
        """Enter a target: what a person wrote, or whose answer it is and how people rate that elsewhere."""
        if example.kind in (Kind.APPROVED, Kind.CORRECTION):
            self._written[cluster, shown_digest(row)].append(example)
        elif _own(example):
            self._answers.setdefault(example.id, _answer_key(row, cluster))

    def disliked(self, example: Example) -> bool:
        """Whether people dislike the bot's answer that a target was made of, here or where it was given again.

        A reviewer's dislike decides; else as many dislikes as likes where somebody liked this one, and more dislikes
        than likes where nobody rated it.
        """
        if not _own(example):
            return False
        said = self._said(example)
        down = {person for person, rating in said.items() if rating == "down"}
        if down & self._reviewers:
            return True
        liked = said.get(example.rated_by) == "up"
        return 2 * len(down) > len(said) or (liked and 2 * len(down) == len(said))

    def unwanted(self, example: Example) -> bool:
        """Whether more people dislike an answer than like it, and no reviewer likes it."""
        said = self._said(example)
        up = {person for person, rating in said.items() if rating == "up"}
        return not up & self._reviewers and 2 * len(up) < len(said)

    def _said(self, example: Example) -> Mapping[str, str]:
        """What each person says of an answer last, of what is heard."""
        rated = self._ratings.get(self._answers[example.id], {})
        return {person: rating for key, (person, rating) in rated.items() if not self.unheard(key)}

    def quarrels(self) -> dict[str, str]:
        """The corrections that say something else than others of the same question over the same passages, and why."""
        found: dict[str, str] = {}
        for group in self._written.values():
            approved = [one for one in group if one.kind == Kind.APPROVED]
            heard = [one for one in group if one.kind != Kind.APPROVED and not self.unheard(one.id)]
            for one in heard:
                if any(_differ(one, other) for other in approved):
                    found[one.id] = OVERRULED
                elif not approved and any(_differ(one, other) and one.rated_by != other.rated_by for other in heard):
                    found[one.id] = DISAGREE
        return found


def _own(example: Example) -> bool:
    """Whether a target is what the bot said, all or in part; a decline in place of an unsupported answer is not."""
    return example.kind in (Kind.UPVOTED, Kind.REPLAY) or (example.kind == Kind.REPAIRED and example.answerable)


def _answer_key(row: Logged, cluster: str) -> bytes:
    """An answer to a question, in any spacing and case, as a hash: a log has very many of them."""
    said = " ".join(row.exchange.answer.split()).lower()
    return hashlib.blake2b(f"{cluster}\n{said}".encode(), digest_size=16).digest()


def _differ(first: Example, second: Example) -> bool:
    """Whether two targets say different things: one declines, or they share few words either way."""
    if first.answerable != second.answerable:
        return True
    return (
        first.answerable
        and max(overlap(first.target, second.target), overlap(second.target, first.target)) < OTHER_ANSWER
    )


def overlap(first: str, second: str) -> float:
    """The share of the content words of the first text that the second has."""
    return share_found(content_words(first), content_words(second))


def same_answer(first: str, second: str) -> bool:
    """Whether two targets say the same in nearly the same words."""
    return min(overlap(first, second), overlap(second, first)) >= SAME_ANSWER and numbers(first) == numbers(second)


def once_each(examples: Iterable[tuple[Example, Clusters]]) -> tuple[list[tuple[Example, Clusters]], list[str]]:
    """Examples, each with its clusters, without those that were there before in nearly the same words; ids of these."""
    seen: dict[str, list[str]] = defaultdict(list)
    kept: list[tuple[Example, Clusters]] = []
    again: list[str] = []
    for example, clusters in examples:
        if any(same_answer(example.target, other) for other in seen[clusters[0]]):
            again.append(example.id)
            continue
        seen[clusters[0]].append(example.target)
        kept.append((example, clusters))
    return kept, again


def side_keys(example: Example, conversation: str, clusters: Clusters) -> Sequence[str]:
    """What decides the side of an example, the deciding key first."""
    near = [f"question:{name}" for name in (*clusters, fingerprint(example.question))]
    return list(dict.fromkeys([*example.documents, f"conversation:{conversation}", *near]))
