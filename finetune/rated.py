"""How the gate's cases came about: people rated what a side answered, so that its own mistakes chose them (pure).

A case is there because somebody corrected an answer, or liked it. Where wrong answers are rated more often than right
ones, an equal candidate looks better than the side whose mistakes were collected; where right ones are, a better one
looks worse. So the cases of either kind weigh as much as that kind has among all answers of the side
(post-stratification).

How many of the answers are wrong that nobody rated is not known. They are taken to be like the rated ones, as surely as
PRIOR answers would tell, and told by a sign that wrong answers show more often than right ones: given what an answer
is, whether it shows the sign is taken not to depend on its being rated (adjusted count, Forman 2008, Quantifying counts
and costs via classification; here as a posterior). All of it is counted by task: a hard task goes wrong more often.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.bootstrap import Floats

LEAST_CASES = 1
"""Of a kind without a case nothing can be said: then no case is weighed. Of few, `finetune/bootstrap.py` has bounds."""
PRIOR = 4.0
"""Few: the rated ones are no sample of all, nor all tasks of one, and a firm prior would lean towards theirs."""
_GRID: Floats = np.linspace(0.005, 0.995, 100)


@dataclass(frozen=True)
class Signs:
    """Of answers of one kind: how many there are, in how many a sign was looked for, and how many show it."""

    answers: int = 0
    looked: int = 0
    shown: int = 0

    def __add__(self, other: "Signs") -> "Signs":
        return Signs(self.answers + other.answers, self.looked + other.looked, self.shown + other.shown)


@dataclass(frozen=True)
class Answers:
    """A side's answers by what people said of them."""

    liked: Signs = Signs()
    disliked: Signs = Signs()
    unrated: Signs = Signs()

    @property
    def rated(self) -> int:
        return self.liked.answers + self.disliked.answers

    def __add__(self, other: "Answers") -> "Answers":
        return Answers(self.liked + other.liked, self.disliked + other.disliked, self.unrated + other.unrated)


@dataclass(frozen=True)
class Rated:
    """What people said of a side's answers by task, and which cases came of them: was its own answer found right?"""

    right: Mapping[str, bool]
    by_task: Mapping[str, Answers]

    def answers(self, task: str | None = None) -> Answers:
        """Those to a task; to all without one, or where nobody rated any of it."""
        some = self.by_task.get(task, Answers()) if task is not None else Answers()
        return some if some.rated else sum(self.by_task.values(), Answers())

    def wrong(self, task: str | None = None, *, seed: int, samples: int) -> Floats:
        """Draws of the share of wrong ones among its answers to a task, in [0, 1].

        A task is taken to be like all of them, as surely as PRIOR answers of each kind would tell.
        """
        rng, here, everywhere = np.random.default_rng(seed), self.answers(task), self.answers()

        def share(some: Callable[[Answers], int], of: Callable[[Answers], int]) -> Floats:
            like = (some(everywhere), of(everywhere)) if here != everywhere else None
            return _share(some(here), of(here), rng, samples, like=like)

        found = share(lambda one: one.disliked.answers, lambda one: one.rated)
        if_right = share(lambda one: one.liked.shown, lambda one: one.liked.looked)
        if_wrong = share(lambda one: one.disliked.shown, lambda one: one.disliked.looked)
        others = _unrated(here.unrated, found, if_right, if_wrong, rng)
        total = max(1, here.rated + here.unrated.answers)
        shares: Floats = (found * here.rated + others * here.unrated.answers) / total
        return shares

    def shares(self, tasks: Sequence[str], *, seed: int, samples: int) -> dict[str, Floats]:
        """For each task draws of its own."""
        return {task: self.wrong(task, seed=seed + place, samples=samples) for place, task in enumerate(tasks)}

    def sentence(self, name: str, *, among: Mapping[str, str]) -> str:
        """How a side's cases among the planned tasks' are weighed, or what they cannot show; empty without any.

        `among` are the planned tasks' cases, each with its task.
        """
        right = [value for case, value in self.right.items() if case in among]
        wrong = right.count(False)
        if right and wrong == len(right):
            many = f"On {wrong} of the planned tasks' cases people had found the answer of {name} wrong"
            lost = "what a candidate loses of its right answers does not show. Thumbs-up add such cases."
            return f"{many}, and on none right: {lost}"
        if min(wrong, len(right) - wrong) < LEAST_CASES:
            return ""
        own = Counter(task for case, task in among.items() if case in self.right)
        shares = self.shares(sorted(own), seed=0, samples=2000)
        whole = np.sum([shares[task] * many / own.total() for task, many in own.items()], axis=0)
        low, share, high = np.quantile(whole, [0.025, 0.5, 0.975])
        told = [task for task in own if self.by_task.get(task, Answers()).rated]
        found = sum((self.by_task[task] for task in told), Answers()) if len(told) == len(own) else self.answers()
        which = "its answers to such questions" if len(told) == len(own) else "all its answers"
        return (
            f"On {len(right)} of the planned tasks' cases people had found the answer of {name} wrong ({wrong}) or "
            f"right. They are weighed so that {share:.0%} are wrong, as of {which} (95 % interval {low:.0%} to "
            f"{high:.0%}): {found.disliked.answers} of {found.rated} rated ones are, and of {found.unrated.answers} "
            f"that nobody rated the judge looked at {found.unrated.looked}."
        )


def _unrated(unrated: Signs, found: Floats, if_right: Floats, if_wrong: Floats, rng: np.random.Generator) -> Floats:
    """Draws of the share of wrong ones among those that nobody rated, each from its posterior on a grid.

    `found` are draws of the share among the rated ones, `if_right` and `if_wrong` of how often either shows the sign.
    """
    shows = np.clip(if_right[:, None] + (if_wrong - if_right)[:, None] * _GRID, 1e-6, 1 - 1e-6)
    prior = (PRIOR * found[:, None] - 1) * np.log(_GRID) + (PRIOR * (1 - found)[:, None] - 1) * np.log(1 - _GRID)
    weights = prior + unrated.shown * np.log(shows) + (unrated.looked - unrated.shown) * np.log(1 - shows)
    chances = np.exp(weights - weights.max(axis=1, keepdims=True)).cumsum(axis=1)
    places = (rng.random(len(found))[:, None] * chances[:, -1:] > chances).sum(axis=1)
    drawn: Floats = _GRID[np.minimum(places, len(_GRID) - 1)]
    return drawn


def _share(
    some: int, of: int, rng: np.random.Generator, samples: int, *, like: tuple[int, int] | None = None
) -> Floats:
    """Draws of a share of which so many were seen (Jeffreys prior), or with a prior like what was seen of more."""
    if like is None:
        return rng.beta(some + 0.5, of - some + 0.5, samples)
    expected = (like[0] + 0.5) / (like[1] + 1)
    return rng.beta(some + PRIOR * expected, of - some + PRIOR * (1 - expected), samples)
