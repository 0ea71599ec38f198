"""Claims about agreements to an adapter: which decision each made, which are open, and that none is lost."""

from collections.abc import Callable
from typing import Any

import pytest

from store import adapters, deployments, people, rollbacks
from store.agreements import Agreement, agreements
from store.database import Database
from store.models import Role
from tests.test_store_adapters import made

Told = tuple[str, float, list[tuple[str, float]], bool]


class Desk:
    """Admins who decide on one adapter, two of whom must agree."""

    def __init__(self, database: Database) -> None:
        names = ("ann", "ben", "cy", "dee")
        self.database, self.adapter = database, made(database)
        self.ids = {name: people.add(database, name, role=Role.ADMIN, actor="test").id for name in names}

    def approve(self, who: str, share: float, *testers: str) -> None:
        said: dict[str, Any] = {"actor": self.ids[who], "comment": f"{who} agrees", "approvers": 2}
        deployments.approve(self.database, self.adapter, share=share, testers=testers, **said)

    def change(self, who: str, share: float) -> None:
        actor = self.ids.get(who, who)
        deployments.change_canary(
            self.database, actor=actor, comment=f"{who} says so", share=share, approvers=1 if who == "watch" else 2
        )

    def back(self, to: str | None = None) -> None:
        rollbacks.rollback(self.database, actor=self.ids["dee"], comment="dee says so", to=to)

    def load(self) -> None:
        deployments.loaded(self.database, self.adapter)

    def role(self, who: str, role: str) -> None:
        people.set_role(self.database, who, role, actor="test")

    def found(self) -> list[Agreement]:
        with self.database.read() as session:
            row, serving = adapters.get(session, self.adapter), deployments.deployment(session)
            return agreements(session, row, serving, needed=2)

    def told(self) -> list[Told]:
        names = {actor: name for name, actor in self.ids.items()}
        return [
            (
                names[one.entry.actor],
                one.entry.details["share"],
                [(str(effect.state), effect.share) for effect in one.made],
                one.open,
            )
            for one in self.found()
        ]


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def half(desk: Desk) -> None:
    """A canary for half of the conversations, that ann and ben agreed to."""
    desk.approve("ann", 0.5)
    desk.approve("ben", 0.5)


HALF: list[Told] = [("ann", 0.5, [("approved", 0.5)], False), ("ben", 0.5, [("approved", 0.5)], False)]


def test_who_asks_for_a_larger_share_takes_nobodys_approval_off_the_record(desk: Desk) -> None:
    half(desk)
    assert desk.told() == HALF
    desk.load()
    desk.change("ben", 1)
    assert desk.told() == [*HALF, ("ben", 1, [], True)]
    desk.back()
    assert desk.told() == [*HALF, ("ben", 1, [], False)]
    assert [one.entry.comment for one in desk.found()] == ["ann agrees", "ben agrees", "ben says so"]
    assert [one.made[0].entry.actor for one in desk.found()[:2]] == [desk.ids["ben"]] * 2


def test_agreements_to_other_terms_stay_open_until_one_of_them_decides(desk: Desk) -> None:
    desk.approve("ann", 0.1, "cy")
    desk.approve("ben", 1)
    assert desk.told() == [("ann", 0.1, [], True), ("ben", 1, [], True)]
    desk.approve("cy", 1)
    assert desk.told() == [
        ("ann", 0.1, [], False),
        ("ben", 1, [("approved", 1)], False),
        ("cy", 1, [("approved", 1)], False),
    ]


def completed(desk: Desk) -> None:
    desk.load()
    desk.change("ben", 1)
    desk.change("cy", 1)


def completed_unloaded(desk: Desk) -> None:
    desk.change("ben", 1)
    desk.change("cy", 1)
    desk.load()


def watched(desk: Desk) -> None:
    desk.load()
    desk.change("ben", 1)
    desk.change("watch", 1)


def raised_within(desk: Desk) -> None:
    desk.change("command", 0.1)
    desk.change("dee", 0.3)


def returned(desk: Desk) -> None:
    completed(desk)
    desk.back()
    desk.back(to=desk.adapter)


def demoted(desk: Desk) -> None:
    desk.change("cy", 0.7)
    desk.role("cy", Role.CHAT)
    desk.change("ann", 0.7)
    desk.change("dee", 0.7)


def reduced(desk: Desk) -> None:
    desk.change("ben", 1)
    desk.change("dee", 0.1)


MADE = [("approved", 0.5)]
BOTH: list[Told] = [*HALF, ("ben", 1, [("live", 1)], False), ("cy", 1, [("live", 1)], False)]


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (completed, BOTH),
        (completed_unloaded, BOTH),
        (returned, BOTH),
        (watched, [*HALF, ("ben", 1, [], False)]),
        (raised_within, [(who, 0.5, [*MADE, ("canary", 0.3)], False) for who in ("ann", "ben")]),
        (demoted, [*HALF, ("cy", 0.7, [], False), *((who, 0.7, [("canary", 0.7)], False) for who in ("ann", "dee"))]),
        (reduced, [("ann", 0.5, MADE, True), ("ben", 0.5, MADE, False), ("ben", 1, [], True)]),
    ],
)  # fmt: skip
def test_each_agreement_names_the_decisions_that_it_made(
    desk: Desk, after: Callable[[Desk], None], told: list[Told]
) -> None:
    half(desk)
    after(desk)
    assert desk.told() == told


def test_agreements_with_another_report_are_none_with_this_adapter(desk: Desk) -> None:
    desk.approve("ann", 0.5)
    with desk.database.write() as session:
        row = adapters.get(session, desk.adapter)
        row.report_digest = "another"
        session.add(row)
    assert desk.found() == []
