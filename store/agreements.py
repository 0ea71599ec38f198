"""What came of each agreement to an adapter, read from the audit record; who counts is `store/approvals.py`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, or_, select

from store import approvals
from store.approvals import terms_of
from store.models import Adapter, AdapterState, AuditEntry, Deployment, Role

Terms = tuple[float, list[str]]
ROLE, ERASED, CHANGED = "person.role", "person.erased", "deployment.changed"
WATCH = "watch"
"""Who gives everybody a canary alone."""
NOBODY = -1.0
"""The share of an adapter that is approved and not deployed yet: any share is larger."""
MOVES = {f"adapter.{state}": state for state in AdapterState}
STAYS = (AdapterState.CANARY, AdapterState.LIVE)


@dataclass(frozen=True)
class Effect:
    """A decision that agreements made: its entry in the audit record, and what the adapter became, for whom."""

    entry: AuditEntry
    state: AdapterState
    share: float
    testers: list[str]


@dataclass(frozen=True)
class Agreement:
    """An agreement, the decisions that it made, and whether it waits for more people."""

    entry: AuditEntry
    made: tuple[Effect, ...]
    open: bool


def agreements(session: Session, row: Adapter, serving: Deployment, *, needed: int) -> list[Agreement]:
    """All agreements with exactly this adapter, dataset and report, to whatever terms and by whomever, oldest first."""
    given = approvals.bound(session, row)
    waiting = {entry.id for entry in _waiting(session, row, serving, needed)}
    made = effects(_record(session, row, given), row.id, {entry.id for entry in given})
    return [Agreement(entry, tuple(made.get(entry.id, ())), entry.id in waiting) for entry in given]


def _waiting(session: Session, row: Adapter, serving: Deployment, needed: int) -> list[AuditEntry]:
    """What can still make a decision: before the approval everybody's last word, then one to a larger share."""
    if row.state == AdapterState.AWAITING_APPROVAL:
        return approvals.last_words(session, row)
    if serving.canary != row.id:
        return []
    return [one for some in approvals.open_terms(session, row, needed=needed, above=serving.share) for one in some]


def _record(session: Session, row: Adapter, given: Sequence[AuditEntry]) -> list[AuditEntry]:
    """What happened since the first agreement: to the adapter, to what serves, and to those who agreed."""
    if not given:
        return []
    people = col(AuditEntry.subject).in_({entry.actor for entry in given})
    role = people & col(AuditEntry.action).in_((ROLE, ERASED))
    about = or_(AuditEntry.subject == row.id, AuditEntry.action == CHANGED, role)
    query = select(AuditEntry).where(col(AuditEntry.id) >= given[0].id, about)
    return list(session.exec(query.order_by(col(AuditEntry.id))))


def effects(
    record: Iterable[AuditEntry], adapter_id: str, given: Collection[int | None]
) -> dict[int | None, list[Effect]]:
    """The decisions that each of the agreements `given`, by id, made; the record's oldest entry comes first (pure).

    Agreements approve an adapter or give a canary a larger share: those of the admins of that moment, by their last
    word. What else changes a share is nobody's agreement: the watch, a smaller share, a rollback.
    """
    found: dict[int | None, list[Effect]] = {}
    words: dict[str, AuditEntry] = {}
    former: set[str] = set()
    move: AuditEntry | None = None
    share: float | None = None  # in force; None while the adapter is not deployed
    for entry in record:
        if entry.id in given:
            words[entry.actor] = entry
        elif entry.action in (ROLE, ERASED):
            (former.discard if _is_admin(entry) else former.add)(entry.subject)
        elif entry.subject == adapter_id and (state := MOVES.get(entry.action)) is not None:
            move = entry
            share = NOBODY if state == AdapterState.APPROVED else share if state in STAYS else None
        elif entry.action == CHANGED and share is not None and (terms := _terms(entry, adapter_id)) is not None:
            if terms[0] > share and entry.actor != WATCH:
                made = _effect(entry, move, terms)
                for one in _behind({who: one for who, one in words.items() if who not in former}, terms, entry.actor):
                    found.setdefault(one.id, []).append(made)
            move, share = None, terms[0]
    return found


def _is_admin(entry: AuditEntry) -> bool:
    """Whether somebody whose role changed is an admin then."""
    return Role.ADMIN in (entry.details.get("to"), entry.details.get("role"))


def _terms(entry: AuditEntry, adapter_id: str) -> Terms | None:
    """For whom an adapter is by a change of what is deployed; None where that is about others."""
    if entry.details.get("canary") == adapter_id:
        return entry.details.get("share", 0.0), entry.details.get("testers", [])
    return (1.0, []) if entry.subject == adapter_id else None


def _effect(entry: AuditEntry, move: AuditEntry | None, terms: Terms) -> Effect:
    """The decision behind a change of what is deployed: the move of the adapter, if the same person made one."""
    became = AdapterState.LIVE if terms[0] == 1 else AdapterState.CANARY
    if move is None or move.actor != entry.actor:
        return Effect(entry, became, *terms)
    return Effect(move, MOVES[move.action], *terms)


def _behind(words: Mapping[str, AuditEntry], terms: Terms, actor: str) -> list[AuditEntry]:
    """The agreements that make a decision: those to its terms where who decides agrees too, else to wider ones."""
    groups: dict[tuple[float, tuple[str, ...]], list[AuditEntry]] = {}
    for entry in words.values():
        share, testers = terms_of(entry)
        if terms[0] <= share and set(terms[1]) <= set(testers):
            groups.setdefault((share, tuple(testers)), []).append(entry)
    exact = groups.get((terms[0], tuple(sorted(terms[1]))), [])
    if len(exact) > 1 and any(entry.actor == actor for entry in exact):
        return exact
    return max((some for some in groups.values() if len(some) > 1), key=len, default=[])
