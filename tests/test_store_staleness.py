"""Claims about what rests on documents: it is found from the document, and stale once its text is gone."""

import json

import pytest
from sqlmodel import select

from store import adapters, documents, exchanges, people, staleness, transfer
from store.__main__ import main
from store.database import Database
from store.errors import NotFound
from store.models import Conversation, Document, Exchange, ExchangePassage, ExchangeState, Person, Role
from store.staleness import RestingAdapter, Trained

RIVER, BREAD, CHEESE = "The Aare is 288 km long.", "Bake the bread for forty minutes.", "Cheese ripens for nine weeks."


def keep(database: Database, source: str, *texts: str) -> Document:
    drafts = [documents.Draft(source, text, 0, len(text), b"\0" * 8) for text in texts]
    whole = "\n\n".join(texts)
    return documents.save(
        database, source=source, title=source, media_type="text/plain", text=whole, drafts=drafts, model="none"
    )


def passage(n: int, document: str | None, text: str) -> dict[str, object]:
    return {"n": n, "document": document, "title": "t", "text": text, "digest": documents.text_digest(text)}


def asked(database: Database, *shown: dict[str, object], answer: str = "So it is [1].", name: str = "ann") -> Exchange:
    person = people.named(database, name)
    conversation = Conversation(person_id=person.id)
    with database.write() as session:
        session.add(conversation)
    row = Exchange(conversation_id=conversation.id, person_id=person.id, question="?", passages=list(shown))
    row.messages = [{"role": "user", "content": "?"}]
    exchanges.begin(database, row)
    exchanges.finish(database, row.id, state=ExchangeState.FINISHED, answer=answer)
    return row


def ann(database: Database) -> Person:
    return people.named(database, "ann")


def resting(database: Database, document: Document) -> staleness.Resting:
    with database.read() as session:
        return staleness.resting_on(session, document.id)


def stale_of(database: Database, row: Exchange) -> frozenset[str] | None:
    with database.read() as session:
        return exchanges.get(session, row.id).stale


def kept(database: Database) -> dict[tuple[str, str], bool]:
    with database.read() as session:
        return {(row.exchange_id, row.digest): row.cited for row in session.exec(select(ExchangePassage))}


# what is stale


def test_an_exchange_is_stale_once_a_passage_it_was_shown_is_gone_and_no_sooner(database: Database) -> None:
    notes = keep(database, "notes", RIVER, BREAD)
    river, bread = asked(database, passage(1, notes.id, RIVER)), asked(database, passage(1, notes.id, BREAD))
    assert resting(database, notes).stale_exchanges == [] and stale_of(database, bread) == frozenset()
    keep(database, "notes", CHEESE, RIVER)
    found = resting(database, notes)
    assert [one.id for one in found.exchanges] == sorted([river.id, bread.id])
    assert found.stale_exchanges == [bread.id]
    assert stale_of(database, river) == frozenset()
    assert stale_of(database, bread) == {documents.text_digest(BREAD)}
    keep(database, "notes", BREAD)
    assert resting(database, notes).stale_exchanges == [river.id]


def test_a_text_that_now_stands_in_another_document_is_not_stale(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    row = asked(database, passage(1, notes.id, RIVER))
    documents.remove(database, notes.id)
    assert resting(database, notes).stale_exchanges == [row.id]
    keep(database, "other", RIVER)
    assert resting(database, notes).stale_exchanges == [] and stale_of(database, row) == frozenset()


def test_given_passages_and_those_of_an_unknown_document_are_never_stale(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    row = asked(database, passage(1, None, BREAD), passage(2, "doc_elsewhere", CHEESE), passage(3, notes.id, RIVER))
    assert stale_of(database, row) == frozenset()
    with database.read() as session:
        assert staleness.stale(session) == []


def test_the_documents_that_something_stale_rests_on_are_listed_in_pages(database: Database) -> None:
    rows = [keep(database, f"notes {n}", f"Note {n}.") for n in range(3)]
    fine = keep(database, "fine", RIVER)
    for n, row in enumerate(rows):
        for _ in range(n + 1):
            asked(database, passage(1, row.id, f"Note {n}."), passage(2, fine.id, RIVER))
        documents.remove(database, row.id)
    with database.read() as session:
        everything = staleness.stale(session)
        first = staleness.stale(session, limit=2)
        rest = staleness.stale(session, limit=2, after=first[-1].id)
    assert {one.source: (one.stale_exchanges, one.removed) for one in everything} == {
        f"notes {n}": (n + 1, True) for n in range(3)
    }
    assert [*first, *rest] == everything


def test_an_unknown_document_is_a_sentence(database: Database) -> None:
    with pytest.raises(NotFound, match="no document doc_x"), database.read() as session:
        staleness.resting_on(session, "doc_x")


# what an exchange rests on


def test_the_passages_that_answer_or_correction_cites_are_marked(database: Database) -> None:
    notes = keep(database, "notes", RIVER, BREAD)
    row = asked(database, passage(1, notes.id, RIVER), passage(2, notes.id, BREAD))
    river, bread = ((row.id, documents.text_digest(text)) for text in (RIVER, BREAD))
    assert kept(database) == {river: True, bread: False}
    exchanges.rate(database, row.id, person=ann(database), rating="down", correction="No, so [2].")
    assert kept(database) == {river: False, bread: True}
    exchanges.rate(database, row.id, person=ann(database), rating="down", correction="No markers here.")
    assert kept(database) == {river: True, bread: False}


def test_a_given_passage_of_a_stale_text_is_not_stale_itself(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    row = asked(database, passage(1, notes.id, RIVER), passage(2, None, RIVER))
    documents.remove(database, notes.id)
    with database.read() as session:
        assert [one["stale"] for one in exchanges.get(session, row.id).passages()] == [True, False]


def test_a_text_that_was_shown_twice_counts_once_and_as_cited_where_it_was(database: Database) -> None:
    notes = keep(database, "notes", RIVER, RIVER)
    row = asked(database, passage(1, notes.id, RIVER), passage(2, notes.id, RIVER), answer="So it is [2].")
    assert kept(database) == {(row.id, documents.text_digest(RIVER)): True}


def test_examples_are_what_people_want_and_what_was_trained_on(database: Database) -> None:
    notes = keep(database, "notes", RIVER, BREAD)
    liked, unrated, uncited, trained = (
        asked(database, passage(1, notes.id, RIVER), answer=answer)
        for answer in ("So [1].", "So [1].", "Just so.", "Just so.")
    )
    for row in (liked, uncited):
        exchanges.rate(database, row.id, person=ann(database), rating="up")
    exact = {trained.id: [documents.text_digest(RIVER)], "ex_other": ["d"]}
    adapters.create(database, actor="test", lineage={"documents": ["document:notes"], "examples": exact})
    found = resting(database, notes)
    assert found.examples == sorted([liked.id, trained.id])
    assert {one.id for one in found.exchanges if one.example} == {liked.id, trained.id}
    assert unrated.id not in found.examples


def test_an_erased_person_leaves_nothing_resting_on_a_document(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    asked(database, passage(1, notes.id, RIVER))
    other = asked(database, passage(1, notes.id, RIVER), name="bob")
    people.erase(database, "ann", actor="test")
    assert [one.id for one in resting(database, notes).exchanges] == [other.id]
    assert {exchange for exchange, _ in kept(database)} == {other.id}


def test_an_imported_log_rests_on_the_documents_it_names(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    row = asked(database, passage(1, notes.id, RIVER), passage(2, "doc_elsewhere", BREAD))
    exchanges.rate(database, row.id, person=ann(database), rating="down", correction="No [1].")
    with database.read() as session:
        line = json.dumps(transfer.as_ratchet(exchanges.get(session, row.id)))
    people.erase(database, "ann", actor="test")
    assert transfer.imported(database, [line], "ratchet") == 1
    documents.remove(database, notes.id)
    assert resting(database, notes).stale_exchanges == [row.id] == resting(database, notes).examples
    assert stale_of(database, row) == {documents.text_digest(RIVER)}


def test_a_dead_bots_exchange_rests_on_what_it_was_shown(database: Database) -> None:
    notes = keep(database, "notes", RIVER)
    person = people.add(database, "ann", role=Role.CHAT, actor="test")
    conversation = Conversation(person_id=person.id)
    with database.write() as session:
        session.add(conversation)
    row = Exchange(
        conversation_id=conversation.id, person_id=person.id, question="?", passages=[passage(1, notes.id, RIVER)]
    )
    exchanges.begin(database, row)
    assert exchanges.abort_left_over(database) == 1
    assert [one.id for one in resting(database, notes).exchanges] == [row.id]


# adapters


def test_an_adapter_is_found_by_what_its_examples_cite_and_tells_its_stale_share(database: Database) -> None:
    notes, other = keep(database, "notes", RIVER, BREAD), keep(database, "other", CHEESE)
    river, bread, cheese = (documents.text_digest(text) for text in (RIVER, BREAD, CHEESE))
    made = {"ex_1": [river, cheese], "ex_2": [bread], "ex_3": [cheese], "ex_4": []}
    row = adapters.create(database, actor="test", lineage={"documents": ["document:other"], "examples": made})
    assert resting(database, notes).adapters == [RestingAdapter(row.id, "training", 2)]
    keep(database, "notes", BREAD)
    with database.read() as session:
        assert staleness.trained_on(session, row.lineage) == Trained(4, 1)
        assert staleness.trained_on(session, row.lineage).share == 0.25
    documents.remove(database, notes.id)
    documents.remove(database, other.id)
    with database.read() as session:
        assert staleness.trained_on(session, row.lineage) == Trained(4, 3)
    assert resting(database, notes).adapters == [RestingAdapter(row.id, "training", 2)]


def test_a_lineage_of_documents_alone_is_still_read(database: Database) -> None:
    notes, other = keep(database, "notes", RIVER), keep(database, "other", BREAD)
    row = adapters.create(database, actor="test", lineage={"people": [], "documents": ["document:notes"]})
    assert resting(database, notes).adapters == [RestingAdapter(row.id, "training", None)]
    assert resting(database, other).adapters == []
    with database.read() as session:
        assert staleness.trained_on(session, row.lineage) == Trained(None, None)
        assert staleness.trained_on(session, {}).share is None


# the command


def shown(capsys: pytest.CaptureFixture[str], name: str) -> dict[str, object]:
    assert main(["show", name]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_show_tells_what_rests_on_a_removed_document_and_what_is_stale(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_DATABASE_URL", database.url)
    notes = keep(database, "notes", RIVER, "x" * 2_000)
    row = asked(database, passage(1, notes.id, RIVER), passage(2, None, BREAD))
    exchanges.rate(database, row.id, person=ann(database), rating="up")
    lineage = {"examples": {row.id: [documents.text_digest(RIVER)], "ex_2": []}}
    adapter = adapters.create(database, actor="test", lineage=lineage)
    documents.remove(database, notes.id)
    document = shown(capsys, notes.id)
    assert document["resting"] == {
        "exchanges": [row.id],
        "stale_exchanges": [row.id],
        "examples": [row.id],
        "adapters": [{"id": adapter.id, "state": "training", "examples": 1}],
    }
    assert document["characters"] == len(notes.text) > len(str(document["text"])) and document["removed_at"]
    passages = shown(capsys, row.id)["passages"]
    assert isinstance(passages, list) and [one["stale"] for one in passages] == [True, False]
    told = shown(capsys, adapter.id)
    assert (told["examples"], told["stale_examples"], told["stale_share"]) == (2, 1, 0.5)
    assert told["lineage"] == lineage
