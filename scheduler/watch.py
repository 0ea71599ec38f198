"""After a swap or beside a canary: do thumbs-down, unsupported answers, failures or declines rise? (one read)

It may look as often as it likes: `scheduler/sequential.py` holds the chance of ever rolling a harmless adapter back at
ALPHA in all. A live adapter is compared with the level of the one it replaced, a canary with what serves the others
meanwhile. Of one person a few observations count (`scheduler/observed.py`): what few people alone show, an admin is
asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from scheduler import sequential
from scheduler.days import ALIKE, Days, begins
from scheduler.observed import DISLIKED, Seen, Sign, Told, Unsupported, seen, signs
from store import deployments
from store.database import Database
from store.errors import NotFound
from store.models import Adapter, AdapterState

ALPHA = 0.05
LEAST = 20
"""Neither side is judged on fewer observations."""
LEAST_PEOPLE = 3
"""As many different people must show a loss, or a gain, before the watch acts by itself: two may be one at heart."""
BEFORE = timedelta(days=30)
"""How far back the level before a swap is looked for."""
MOST_BEFORE = 10_000
"""As many exchanges, the last before the swap, tell the level: a watch looks every few seconds."""
MOST = 0.5
"""Where too little is there to compare, an admin is asked about what shows in more than this share, by its lower bound:
at once from LEAST observations on, at the end of the window of any number: five bad ones of five are so many."""
MOST_WINDOWS = 7
"""A live adapter that hardly anybody used, fewer than LEAST exchanges, is watched on: for so many windows at most."""
ENOUGH_RATINGS = 50
"""With fewer ratings in the window nobody is asked: the end is "kept, no verdict"."""


@dataclass(frozen=True)
class Watched:
    """A verdict with a sentence.

    `waiting`, `roll back`, `complete` (a canary), `kept`, `asks` (the window is over, few people alone tell of a rise,
    or most is bad and nothing there to compare: an admin is to decide) or `taken back` (by somebody else).
    """

    verdict: str
    sentence: str


def rises(
    others: Sequence[bool],
    seen: Sequence[bool],
    *,
    beside: bool,
    tolerated: float = 0.0,
    alpha: float = ALPHA,
    days: Days = ALIKE,
    begins: Sequence[int] | None = None,
) -> bool:
    """Whether a share is larger than it was, by more than `tolerated`: true by chance, ever, in `alpha` of the cases.

    Both in the order of time. `beside` says that both ran at the same time; else the others give a level before, whose
    `days` may differ, and `begins` are the places in `seen` at which its days begin.
    """
    if len(others) < LEAST or len(seen) < LEAST:
        return False
    if beside:
        higher = sum(seen) / len(seen) - sum(others) / len(others) > tolerated
        return higher and sequential.enough(sequential.against_others(others, seen, tolerated=tolerated), alpha=alpha)
    yes, of = sum(others), len(others)
    found = sequential.looks_until_above(yes, of, seen, alpha=alpha, tolerated=tolerated, days=days, begins=begins)
    return found is not None


@dataclass(frozen=True)
class _Sides:
    """Who answered: the watched adapter since the decision, and those it is held against, the first that tell enough.

    An adapter is not to be worse than the one it replaced, whatever served before that one. What `testers` say of a
    canary decides nothing by itself: they are others than who asks beside it, and ask and rate otherwise.
    """

    adapter_id: str
    after: Sequence[Seen]
    others: Sequence[Sequence[Seen]]
    beside: bool
    testers: frozenset[str] = frozenset()
    _told: dict[tuple[str, bool], tuple[Told, Told]] = field(default_factory=dict)
    _days: dict[str, Days] = field(default_factory=dict)

    @property
    def choice(self) -> str:
        """What an admin can do."""
        return "complete the canary or roll it back" if self.beside else "keep it or roll it back"

    def little(self, was: Told, is_: Told) -> str:
        """That nothing can rise or fall where a side tells too little; empty where both tell enough."""
        side = ("beside" if self.beside else "before") if len(was.rows) < LEAST else "since"
        whose = " from others than testers" if self.testers and side == "since" else ""
        return "" if len(was.rows) >= LEAST <= len(is_.rows) else f"too little {side}{whose} to compare"

    def told(self, sign: Sign, *, few: bool) -> tuple[Told, Told]:
        """What the others and the adapter tell of a sign, of each person a `few` observations or all."""
        key = sign.name, few
        if key not in self._told:
            self._told[key] = self._before(sign, few=few), self._since(sign, few=few)
        return self._told[key]

    def _before(self, sign: Sign, *, few: bool) -> Told:
        was = Told(())
        for rows in (self._public(side, sign) for side in self.others):
            near = rows if sign.most is None else rows[: sign.most] if self.beside else rows[-sign.most :]
            was = Told.of(near, sign)
            was = was.few(last=not self.beside) if few else was
            if len(was.rows) >= LEAST:
                break
        return was

    def _since(self, sign: Sign, *, few: bool) -> Told:
        is_ = Told.of(self._public(self.after, sign)[: sign.most], sign)
        return is_.few() if few else is_

    def days(self, sign: Sign) -> Days:
        """How much days differed before, whoever served; a day of failures excuses none since."""
        if self.beside or sign.anybody:
            return ALIKE
        if sign.name not in self._days:
            rows = self.others[-1] if sign.most is None else self.others[-1][-sign.most :]
            served = [[one for one in rows if one.adapter == name] for name in {one.adapter for one in rows}]
            self._days[sign.name] = Days.of(*(Told.of(one, sign).few(last=True).rows for one in served))
        return self._days[sign.name]

    def used_by_others_than_testers(self) -> bool:
        """Whether anybody has used the adapter whom its share, not a name, has brought to it."""
        return any(one.asker not in self.testers for one in self.after)

    def _public(self, rows: Sequence[Seen], sign: Sign) -> Sequence[Seen]:
        """What counts of a side: of testers only what is the machine's fault."""
        return rows if sign.anybody or not self.testers else [one for one in rows if one.asker not in self.testers]

    def harm(self, sign: Sign, *, few: bool) -> tuple[str, int]:
        """That a sign rose, as a sentence without its end, and how many people show it; empty when it did not."""
        was, is_ = self.told(sign, few=few)
        if not self._rose(was, is_, sign, alpha=ALPHA * sign.part):
            return "", 0
        return f"{sign.name} rose {_from_to(was, is_)} {sign.of} with {self.adapter_id}", is_.people()

    def _rose(self, was: Told, is_: Told, sign: Sign, *, alpha: float) -> bool:
        """Whether what the adapter shows is more than the others did, by more than days differ."""
        return rises(
            was.shows(),
            is_.shows(),
            beside=self.beside,
            tolerated=sign.tolerated,
            alpha=alpha,
            days=self.days(sign),
            begins=None if self.beside else begins(is_.rows),
        )

    def alarm(self, sign: Sign, *, at_the_end: bool = False) -> str:
        """That most of what the adapter did is bad, and too little is there to compare; empty when not."""
        was, is_ = self.told(sign, few=False)
        all_ = Told.of(self.after[: sign.most], sign)
        bad, of = sum(all_.shows()), len(all_.rows)
        if not at_the_end and (of < LEAST or all_.people() < (1 if sign.anybody else LEAST_PEOPLE)):
            return ""
        little = self.little(was, is_)
        usual = sum(was.shows()) / len(was.rows) if len(was.rows) >= LEAST else 0.0
        said = f"{sign.name} in {bad} of {of} {sign.of} with {self.adapter_id}, {little}"
        return f"{said}: {self.choice}." if little and sequential.at_least(bad, of) > max(MOST, usual) else ""

    def shown(self, watched: Sequence[Sign], found: str) -> str:
        """What a window without a verdict showed: `found`, as far as there was something to compare."""
        told = [(sign.name, self.little(*self.told(sign, few=False))) for sign in watched]
        if all(little for _, little in told):
            since = next((little for _, little in told if "since" in little), told[0][1])
            return f", {since} with {self.adapter_id}"
        names = {why: [name for name, little in told if little == why] for _, why in told if why}
        return f" {found}" + "".join(f", and {why} {' and '.join(blind)}" for why, blind in names.items())

    def gain(self, *, few: bool) -> tuple[str, int]:
        """That thumbs-down fell, and how many people are content."""
        was, is_ = self.told(DISLIKED, few=few)
        liked = is_.opposite()
        if not self._rose(was.opposite(), liked, DISLIKED, alpha=ALPHA):
            return "", 0
        return f"{DISLIKED.name} fell {_from_to(was, is_)} {DISLIKED.of} with {self.adapter_id}", liked.people()


def _from_to(was: Told, is_: Told) -> str:
    return f"from {sum(was.shows())} of {len(was.rows)} to {sum(is_.shows())} of {len(is_.rows)}"


def look(
    database: Database,
    *,
    adapter_id: str,
    hours: float,
    max_decline_rise: float,
    watched: timedelta,
    complete_canary_hours: float | None = None,
    unsupported: Unsupported | None = None,
    new_account_days: float = 0.0,
) -> Watched:
    """What the exchanges since the decision say of an adapter that is live or a canary.

    `watched` is for how long it was looked at so far (`scheduler/window.py`). A canary is watched for as long as it is
    one; after `complete_canary_hours`, when others than testers have used it, it is to go live. Without `unsupported`
    no judge is asked. Ratings of accounts younger than `new_account_days` do not count.
    """
    with database.read() as session:
        adapter = session.get(Adapter, adapter_id)
        if adapter is None:
            raise NotFound(f"no adapter {adapter_id}.")
        canary = adapter.state == AdapterState.CANARY
        deployed = deployments.deployment(session)
        since = adapter.decided_at or adapter.created_at
        meanwhile = seen(session, since=since, new_account_days=new_account_days)
        before: list[Seen] = []
        if not canary:
            long, model = since - BEFORE, adapter.base_model
            before = seen(
                session, since=long, until=since, last=MOST_BEFORE, model=model, new_account_days=new_account_days
            )
    if adapter.state in (AdapterState.ROLLED_BACK, AdapterState.QUARANTINED):
        return Watched("taken back", f"{adapter_id} is {adapter.state}: it was taken back.")
    if adapter.state not in (AdapterState.LIVE, AdapterState.CANARY):
        return Watched("kept", f"{adapter_id} is {adapter.state}: nothing to watch.")
    after = [one for one in meanwhile if one.adapter == adapter_id]
    if canary:
        others = [[one for one in meanwhile if one.adapter == deployed.adapter]]
    else:
        others = [
            [one for one in before if one.adapter == adapter.replaced],
            [one for one in before if one.adapter != adapter_id],
        ]
    sides = _Sides(adapter_id, after, others, canary, frozenset(deployed.testers if canary else ()))
    told = signs(max_decline_rise, unsupported)
    if loss := _loss(sides, told) or _alarm(sides, told):
        return loss
    gain = _gain(sides)
    if gain is not None and gain.verdict != "asks":
        return gain
    complete = complete_canary_hours if canary and sides.used_by_others_than_testers() else None
    ended = _at_the_end(sides, told, watched, hours=hours, complete=complete)
    return ended if gain is None or ended.verdict == "complete" else gain


def _loss(sides: _Sides, watched: Sequence[Sign]) -> Watched | None:
    """What follows from a loss that shows by now; what few people alone show is a question to an admin."""

    def harmed(few: bool) -> list[tuple[str, int]]:
        return [found for sign in watched if (found := sides.harm(sign, few=few))[0]]

    if sure := [said for said, people in harmed(True) if people >= LEAST_PEOPLE]:
        return Watched("roll back", f"{sure[0]}.")
    perhaps = harmed(False)
    return _asked(sides, *perhaps[0]) if perhaps else None


def _alarm(sides: _Sides, watched: Sequence[Sign], *, at_the_end: bool = False) -> Watched | None:
    """A question to an admin about what most show, where a loss cannot be told; it never acts by itself."""
    said = next((found for sign in watched if (found := sides.alarm(sign, at_the_end=at_the_end))), "")
    return Watched("asks", said) if said else None


def _gain(sides: _Sides) -> Watched | None:
    """What follows from a gain; one that few people alone show is a question where it would complete a canary."""
    said, people = sides.gain(few=True)
    if said and people >= LEAST_PEOPLE:
        return Watched("complete" if sides.beside else "kept", f"{said}.")
    said, people = sides.gain(few=False) if sides.beside else ("", 0)
    return _asked(sides, said, people) if said else None


def _asked(sides: _Sides, said: str, people: int) -> Watched:
    few = f"only {people} {'person shows' if people == 1 else 'people show'} it"
    why = few if people < LEAST_PEOPLE else "a few people make most of it"
    return Watched("asks", f"{said}, but {why}: {sides.choice}.")


def _at_the_end(
    sides: _Sides, watched: Sequence[Sign], passed: timedelta, *, hours: float, complete: float | None
) -> Watched:
    """What follows without evidence when the window is over; a canary that nobody used is asked about too."""
    used, canary = len(sides.after), sides.beside
    end = hours if complete is None else complete
    if passed < timedelta(hours=end):
        return Watched("waiting", "")
    if alarm := _alarm(sides, watched, at_the_end=True):
        return alarm
    if not canary and used < LEAST:
        end *= MOST_WINDOWS
        if passed < timedelta(hours=end):
            return Watched("waiting", "")
    long = f"{end:g} h of watching"
    if complete is not None:
        shown = sides.shown(watched, "showed no clear loss")
        return Watched("complete", f"completed: {used} exchanges in {long} as a canary{shown}.")
    if canary and not used:
        return Watched("asks", f"nobody asked {sides.adapter_id} anything in {long}: {sides.choice}.")
    ratings = sum(one.rating is not None for one in sides.after)
    if canary or ratings >= ENOUGH_RATINGS:
        shown = sides.shown(watched, f"show neither a loss nor a gain with {sides.adapter_id}")
        return Watched("asks", f"{used} exchanges and {ratings} ratings in {long}{shown}: {sides.choice}.")
    shown = sides.shown(watched, "showed no clear loss")
    return Watched("kept", f"kept, no verdict: {used} exchanges in {long}{shown}.")
