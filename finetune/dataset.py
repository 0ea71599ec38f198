"""Logged exchanges to curated training examples and held-out cases, with a reason for each (pure).

What is a target, best first: an answer that a reviewer wrote or approved; a person's correction that the passages
support; a thumbs-up answer that the judge finds grounded; an answer repaired from its own passages; a teacher model's
that the judge supports. Never an unjudged answer of the bot, never one with a thumbs-down: that is kept apart, for
preferences. What the serving adapter wrote and the judge supports is replay: it keeps other tasks as they are. Where
people declined too seldom, answered questions stand once more without the passages that answer them. It reads no
database and knows no model.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from finetune import hygiene, redact
from finetune.curated import Curated
from finetune.examples import Example, Kind, Rules, example_of
from finetune.hearing import Hearing
from finetune.judge import Judge
from finetune.sides import HELD_OUT, LEAVES, PERSON, TRAIN, Sides
from finetune.withheld import Block, twins
from store.exchanges import Logged

ANOTHERS = "unrated answer of an adapter that does not serve now"
STALE = "rests on a passage that changed or went"
"""Why an exchange is left out whose target cites a passage that no document holds any more."""
CAPPED_FROM = 50
"""How many people there must be before the rows of each are capped."""
LEAST_CAP = 3
TRAIN_CAP, CASE_CAP = 0.02, 0.05
"""A person's part of the examples, and of an evaluation's cases: these are of the few people who are held out."""


@dataclass(frozen=True)
class Policy:
    """What curation goes by."""

    judge: Judge
    rules: Mapping[str, Rules]
    covering: Mapping[str, float]
    """The tasks that cover every exchange scoring at least that much on them."""
    reviewers: frozenset[str]
    """The ids of people who review now: what they rate outweighs others, at any pace and over no cap."""
    sources: Mapping[str, str]
    """Document ids -> stable names."""
    unanswerable_share: float
    persons: int
    """How many people there are in all; caps per person begin at 50."""
    live: frozenset[str] | None = None
    """The digests of the passages that can be retrieved, by which stale ones are left out."""
    serving: str | None = None
    """The adapter whose own answers may be replay; None for any adapter's."""
    redacted: redact.Redact = redact.redact
    golden: frozenset[str] = frozenset()
    """Exchanges that are held out whatever their number."""
    joined: Mapping[str, datetime] = field(default_factory=dict)
    """When people joined."""
    new_account_days: float = 0.0
    """What people say within so many days of joining counts for nothing; 0 for nobody."""
    most_per_hour: int = 0
    """More ratings of a person within an hour are a burst; 0 for any number."""
    suspicious: Callable[[str], bool] = lambda _: False
    """Tells text that instructs the model."""
    max_cases: int | None = None
    """How many held-out cases an evaluation asks; None for all."""
    block: Block | None = None
    """Writes the user's message; without it no passage is taken away."""


def curate(logged: Iterable[Logged], *, sides: Sides, policy: Policy) -> Curated:
    """Curate the log, oldest exchange first; it is read once and not kept. New sides are entered into `sides`."""
    curated = Curated(golden=policy.golden)
    near = hygiene.Near()
    votes = hygiene.Votes(
        Hearing(
            policy.reviewers,
            joined=policy.joined,
            new_days=policy.new_account_days,
            most_per_hour=policy.most_per_hour,
        )
    )
    made: list[tuple[Example, hygiene.Clusters]] = []
    disliked: list[tuple[Example, hygiene.Clusters]] = []
    conversations: dict[str, str] = {}
    for row in logged:
        curated.funnel["exchanges"] += 1
        found = _found(row, policy)
        clusters = near.of(row.exchange.question) if row.feedback or isinstance(found, Example) else ("",)
        votes.count(row, clusters[0])
        if isinstance(found, str):
            curated.drop(row.exchange.id, found)
            continue
        conversations[found.id] = row.exchange.conversation_id
        if found.kind == Kind.DISLIKED:
            curated.drop(found.id, found.reason)
            disliked.append((found, clusters))
            continue
        votes.enter(found, row, clusters[0])
        if found.question != row.exchange.question:
            curated.count(found.id, "changed: personal data redacted")
        made.append((found, clusters))
    trusted = _trusted(curated, made, votes)
    order = {example.id: place for place, (example, _) in enumerate(trusted)}
    kept, again = hygiene.once_each(sorted(trusted, key=lambda one: _standing(one[0], policy.golden)))
    for exchange_id in again:
        curated.drop(exchange_id, "the same question and answer again")
    kept.sort(key=lambda one: (one[0].id not in policy.golden, order[one[0].id]))
    for example, clusters in kept:
        _place(curated, example, hygiene.side_keys(example, conversations[example.id], clusters), sides)
    for example, clusters in hygiene.once_each(_unwanted(disliked, votes))[0]:
        if _may_teach(example, hygiene.side_keys(example, conversations[example.id], clusters), sides):
            curated.disliked.append(example)
    _trim(curated, policy)
    curated.count_sides(policy.max_cases)
    return curated


def _standing(example: Example, golden: frozenset[str]) -> tuple[bool, int]:
    """What is kept of the same question and answer: a golden example, else the best kind; of equals, the oldest."""
    return example.id not in golden, list(Kind).index(Kind(example.kind))


def _trim(curated: Curated, policy: Policy) -> None:
    """Leave out what is over a person's cap and what declines too often; let more decline where too few do."""
    train, held_out = len(curated.train), len(curated.held_out)
    cases = held_out if policy.max_cases is None else min(held_out, policy.max_cases)
    curated.train, over = _capped(curated.train, policy, cap=train * TRAIN_CAP, whose=lambda one: one.person)
    curated.disliked, _ = _capped(curated.disliked, policy, cap=train * TRAIN_CAP, whose=lambda one: one.rated_by)
    for example in over:
        curated.drop(example.id, "over the person's cap")
    curated.held_out, over = _capped(curated.held_out, policy, cap=cases * CASE_CAP, whose=lambda one: one.person)
    for example in over:
        curated.drop(example.id, "held out, but over the person's cap of cases")
    curated.train = _declining_share(curated, policy.unanswerable_share)
    if policy.block is not None:
        room = _room_to_decline(curated.train, policy.unanswerable_share)
        curated.train += twins(curated.train, room, judge=policy.judge, block=policy.block)


def _unwanted(
    disliked: Sequence[tuple[Example, hygiene.Clusters]], votes: hygiene.Votes
) -> list[tuple[Example, hygiene.Clusters]]:
    """The answers that more people dislike than like, without what was said in a burst or by a new account."""
    return [one for one in disliked if not votes.unheard(one[0].id) and votes.unwanted(one[0])]


def _may_teach(example: Example, keys: Sequence[str], sides: Sides) -> bool:
    """Whether a disliked answer may teach: its person and every passage that it saw stand on the training side already.

    It takes no passage to a side by itself, so that it changes nothing of what is measured.
    """
    person = f"{PERSON}{example.person}"
    if any(sides.known.get(key) != TRAIN for key in example.documents):
        return False
    return sides.known.get(person, TRAIN) == TRAIN and sides.of(keys, person=person) == TRAIN


def _found(row: Logged, policy: Policy) -> Example | str:
    """The example of an exchange, or why it is left out: it has no target, a stale one, or one that instructs."""
    found = example_of(
        row,
        judge=policy.judge,
        rules=policy.rules,
        covering=policy.covering,
        sources=policy.sources,
        redact=policy.redacted,
    )
    if isinstance(found, str):
        return found
    if found.kind == Kind.REPLAY and policy.serving not in (None, found.logged_adapter):
        return ANOTHERS
    if policy.live is not None and not policy.live.issuperset(found.rests_on):
        return STALE
    if found.kind != Kind.APPROVED and policy.suspicious(found.target):
        return "held for review: the target reads like an instruction to the model"
    return found


def _trusted(
    curated: Curated, made: Sequence[tuple[Example, hygiene.Clusters]], votes: hygiene.Votes
) -> list[tuple[Example, hygiene.Clusters]]:
    """The examples that no burst, new account, dislike or quarrel speaks against."""
    quarrels = votes.quarrels()
    kept: list[tuple[Example, hygiene.Clusters]] = []
    for example, clusters in made:
        why = votes.unheard(example.id) if example.kind != Kind.APPROVED else ""
        why = why or (hygiene.DISLIKED if votes.disliked(example) else quarrels.get(example.id, ""))
        if why:
            curated.drop(example.id, why)
        else:
            kept.append((example, clusters))
    return kept


def _place(curated: Curated, example: Example, keys: Sequence[str], sides: Sides) -> None:
    fixed = example.id in curated.golden
    side = sides.of(keys, person=f"{PERSON}{example.person}", held_out=fixed)
    if side == LEAVES and fixed:
        curated.drop(example.id, "golden, but what answers it is trained on")
    elif side == LEAVES:
        curated.drop(example.id, "would be on both sides")
    elif side == HELD_OUT and example.kind in (Kind.REPAIRED, Kind.TAUGHT, Kind.REPLAY):
        curated.drop(example.id, "held out, but no person said what is right")
    elif side == HELD_OUT:
        curated.held_out.append(example)
    elif side == TRAIN and example.kind == Kind.REPLAY:
        curated.replay.append(example)
    else:
        curated.train.append(example)


def _capped(
    examples: Sequence[Example], policy: Policy, *, cap: float, whose: Callable[[Example], str]
) -> tuple[list[Example], list[Example]]:
    """At most `cap` of each person, or LEAST_CAP, the newest, once there are 50 people; and those left out.

    What a reviewer approved or rated is over no cap, nor is a golden example.
    """
    most = max(LEAST_CAP, int(cap)) if policy.persons >= CAPPED_FROM else len(examples)
    kept: list[Example] = []
    over: list[Example] = []
    counts: Counter[str] = Counter()
    for example in reversed(examples):
        counts[whose(example)] += 1
        free = example.kind == Kind.APPROVED or example.rated_by in policy.reviewers or example.id in policy.golden
        (over if counts[whose(example)] > most and not free else kept).append(example)
    return kept[::-1], over


def _declining_share(curated: Curated, share: float) -> list[Example]:
    """At most `share` of the examples teach declining; the newest stay."""
    over = -_room_to_decline(curated.train, share)
    kept: list[Example] = []
    for example in curated.train:
        if not example.answerable and over > 0:
            over -= 1
            curated.drop(example.id, "enough examples of declining")
        else:
            kept.append(example)
    return kept


def _room_to_decline(examples: Sequence[Example], share: float) -> int:
    """How many more examples may decline until they are `share` of all; negative where they are more."""
    answering = sum(example.answerable for example in examples)
    return int(answering * share / (1 - share)) - (len(examples) - answering)
