"""How the gate's cases came about: people rated what a side answered, so that its own mistakes chose them (pure).

A case is there because somebody corrected an answer, or liked it. Where wrong answers are rated more often than right
ones, an equal candidate looks better than the side whose mistakes were collected; where right ones are, a better one
looks worse. So the cases of either kind weigh as much as that kind has among all answers of the side
(post-stratification).

How many of the answers are wrong that nobody rated is not known. They are taken to be like the rated ones, as surely as
PRIOR answers would tell, and told by a sign that wrong answers show more often than right ones: given what an answer
is, whether it shows the sign is taken not to depend on its being rated (adjusted count, Forman 2008, Quantifying counts
and costs via classification; here as a posterior).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from finetune.bootstrap import Floats

LEAST_CASES = 1
"""Of a kind without a case nothing can be said: then no case is weighed. Of few, `finetune/bootstrap.py` has bounds."""
PRIOR = 4.0
"""Few: the rated ones are not a sample, and a firm prior would lean the share of wrong ones towards theirs."""
_GRID: Floats = np.linspace(0.005, 0.995, 100)


@dataclass(frozen=True)
class Signs:
    """Of answers of one kind: how many there are, in how many a sign was looked for, and how many show it."""

    answers: int = 0
    looked: int = 0
    shown: int = 0


@dataclass(frozen=True)
class Rated:
    """A side's answers by what people said, and the cases that came of them: was its own answer found right?"""

    right: Mapping[str, bool]
    liked: Signs
    disliked: Signs
    unrated: Signs

    def wrong(self, *, seed: int, samples: int) -> Floats:
        """Draws of the share of wrong ones among all its answers, in [0, 1]."""
        rng = np.random.default_rng(seed)
        rated = self.liked.answers + self.disliked.answers
        found = _share(self.disliked.answers, rated, rng, samples)
        others = self._unrated(found, rng, samples)
        shares: Floats = (found * rated + others * self.unrated.answers) / max(1, rated + self.unrated.answers)
        return shares

    def _unrated(self, found: Floats, rng: np.random.Generator, samples: int) -> Floats:
        """Draws of the share of wrong ones among those that nobody rated, each from its posterior on a grid."""
        if_right = _share(self.liked.shown, self.liked.looked, rng, samples)
        if_wrong = _share(self.disliked.shown, self.disliked.looked, rng, samples)
        shows = np.clip(if_right[:, None] + (if_wrong - if_right)[:, None] * _GRID, 1e-6, 1 - 1e-6)
        prior = (PRIOR * found[:, None] - 1) * np.log(_GRID) + (PRIOR * (1 - found)[:, None] - 1) * np.log(1 - _GRID)
        seen, looked = self.unrated.shown, self.unrated.looked
        weights = prior + seen * np.log(shows) + (looked - seen) * np.log(1 - shows)
        chances = np.exp(weights - weights.max(axis=1, keepdims=True)).cumsum(axis=1)
        places = (rng.random(samples)[:, None] * chances[:, -1:] > chances).sum(axis=1)
        drawn: Floats = _GRID[np.minimum(places, len(_GRID) - 1)]
        return drawn

    def sentence(self, name: str, *, among: Collection[str]) -> str:
        """How a side's cases among the planned tasks' are weighed, or what they cannot show; empty without any."""
        right = [value for case, value in self.right.items() if case in among]
        wrong = right.count(False)
        if right and wrong == len(right):
            found = f"On {wrong} of the planned tasks' cases people had found the answer of {name} wrong"
            lost = "what a candidate loses of its right answers does not show. Thumbs-up add such cases."
            return f"{found}, and on none right: {lost}"
        if min(wrong, len(right) - wrong) < LEAST_CASES:
            return ""
        low, share, high = np.quantile(self.wrong(seed=0, samples=2000), [0.025, 0.5, 0.975])
        liked, disliked, unrated = self.liked.answers, self.disliked.answers, self.unrated
        return (
            f"On {len(right)} of the planned tasks' cases people had found the answer of {name} wrong ({wrong}) or "
            f"right. They are weighed so that {share:.0%} are wrong, as of all its answers (95 % interval {low:.0%} to "
            f"{high:.0%}): {disliked} of {disliked + liked} rated ones are, and of {unrated.answers} that nobody rated "
            f"the judge looked at {unrated.looked}."
        )


def _share(some: int, of: int, rng: np.random.Generator, samples: int) -> Floats:
    """Draws of a share of which so many were seen (Jeffreys prior)."""
    return rng.beta(some + 0.5, of - some + 0.5, samples)
