"""Claims about searching: scores are explained, searches narrowed, a reranker orders, old passages still count."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from retrieval import ranking
from retrieval.__main__ import main
from retrieval.embedding import Embedder, Reranker
from retrieval.index import Index
from retrieval.library import Library
from retrieval.words import Words
from store import documents
from store.database import Database
from store.documents import Filter
from store.errors import Invalid, NotFound
from tests.queued import queued_bot
from tests.test_retrieval import BREAD, RIVER

LAKE = "The lake of Thun lies at the foot of the Alps. The river Aare leaves it at the town of Thun."
ASKED = "How long is the river Aare?"


@pytest.fixture
def library(tmp_path: Path, database: Database, embedder: Embedder) -> Iterator[Library]:
    index = Index(database, embedder, folder=tmp_path / "index", dense_weight=0.6)
    library = Library(database, embedder, index, chunk_characters=300, min_score=0.12)
    for source, text in (("river.md", RIVER), ("bread.md", BREAD), ("lake.md", LAKE)):
        library.add_text(source=source, title=source.removesuffix(".md").title(), text=text)
    yield library
    index.close()


def ids(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {document.source: document.id for document, _ in documents.present(session)}


# measures


def test_the_default_weights_name_every_measure_and_sum_to_one() -> None:
    assert tuple(ranking.DEFAULT) == ranking.MEASURES and sum(ranking.DEFAULT.values()) == pytest.approx(1)


def test_packed_vectors_keep_their_cosines(embedder: Embedder) -> None:
    vectors = embedder.encode([RIVER, BREAD, LAKE])
    again = ranking.unpacked(ranking.packed(vectors), vectors.shape[1])
    assert np.abs(again @ vectors.T - vectors @ vectors.T).max() < 0.01
    assert len(ranking.packed(vectors)) == vectors.size


def test_all_words_in_one_sentence_count_more_than_words_scattered() -> None:
    words = Words([RIVER, BREAD, LAKE])
    asked = ranking.asked("long river Aare", words.weight)
    together, _ = ranking.overlap(asked, "", "The river Aare is long. It is cold.")
    scattered, _ = ranking.overlap(asked, "", "The river is cold. Aare. It is long.")
    assert together == pytest.approx(1) and scattered < 0.7


def test_words_side_by_side_make_a_phrase_and_no_words_make_nothing() -> None:
    asked = ranking.asked("bread oven", lambda stem: 1.0)
    assert ranking.overlap(asked, "", "a bread oven")[1] == 1 and ranking.overlap(asked, "", "an oven, bread")[1] == 0
    assert ranking.overlap(ranking.asked("", lambda stem: 1.0), "", "") == (0, 0)


def test_a_passage_is_as_near_as_the_nearer_of_its_title_and_its_best_sentence(embedder: Embedder) -> None:
    vector, asked = embedder.encode([ASKED])[0], ranking.asked(ASKED, lambda stem: 1.0)

    def nearest(title: str, text: str) -> float:
        [parts] = ranking.part_vectors([title], [text], embedder.encode)
        found = ranking.measures(asked, vector, title, text, ranking.Known(0.1, 0.1, 0.1, parts))
        return dict(zip(ranking.MEASURES, found, strict=True))["nearest"]

    assert nearest(ASKED, BREAD) > 0.98 and nearest("Bread", f"It is baked.\n\n{ASKED}") > 0.98
    assert nearest("Bread", RIVER) == nearest("Oven", RIVER) > nearest("Bread", BREAD)


def test_sentences_of_lists_and_paragraphs_are_told_apart() -> None:
    assert ranking.sentences("One. Two!\n\nThree\n- four\n- five") == ["One.", "Two!", "Three", "- four", "- five"]
    assert ranking.sentences("") == [""]


# search


def test_each_passage_says_what_made_its_score(library: Library) -> None:
    found = library.search(ASKED, 3)
    assert [passage["explain"]["rank"] for passage in found] == [passage["n"] for passage in found]
    for passage in found:
        explain = passage["explain"]
        made = sum(ranking.DEFAULT[name] * explain[name] for name in ranking.MEASURES)
        assert passage["score"] == pytest.approx(made, abs=2e-4) == pytest.approx(explain["blend"], abs=2e-4)
        assert all(0 <= explain[name] <= 1 for name in ranking.MEASURES)
    assert found[0]["text"] == RIVER and found == sorted(found, key=lambda passage: -passage["score"])


def test_passages_without_sentence_vectors_are_still_found(library: Library, database: Database) -> None:
    with database.write() as session:
        for chunk in documents.live_chunks(session):
            chunk.sentences = None
            session.add(chunk)
    assert library.search(ASKED, 1)[0]["text"] == RIVER


def test_a_search_can_be_narrowed_to_a_document_a_tag_or_a_collection(library: Library, database: Database) -> None:
    known = ids(database)
    documents.label(database, known["lake.md"], collection="places", tags=["water", "thun"])
    documents.label(database, known["bread.md"], collection="food", tags=["oven"])
    assert [p["text"] for p in library.search(ASKED, 3, Filter(document="lake.md"))] == [LAKE]
    assert [p["text"] for p in library.search(ASKED, 3, Filter(document=known["lake.md"], tag="water"))] == [LAKE]
    assert [p["text"] for p in library.search(ASKED, 3, Filter(collection="places"))] == [LAKE]
    assert library.search(ASKED, 3, Filter(collection="food")) == []
    with pytest.raises(NotFound, match=r"no document has tag oven, collection places"):
        library.search(ASKED, 3, Filter(tag="oven", collection="places"))
    with pytest.raises(NotFound, match="no document doc_none"):
        documents.label(database, "doc_none", collection="", tags=[])


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a one-layer cross-encoder of random weights."""
    folder = tmp_path_factory.mktemp("models") / "cross"
    folder.mkdir()
    words = sorted({word.strip(".?,").lower() for word in f"{RIVER} {BREAD} {LAKE} {ASKED}".split()})
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    torch.manual_seed(1)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=128).save_pretrained(str(folder))
    config = BertConfig(
        vocab_size=5 + len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(str(folder))
    return str(folder)


def test_a_cross_encoder_orders_the_candidates_and_is_explained(
    library: Library, tmp_path: Path, database: Database, embedder: Embedder, cross_encoder: str
) -> None:
    rerank = Reranker(cross_encoder)
    index = Index(database, embedder, folder=tmp_path / "other", dense_weight=0.6, rerank=rerank)
    hits = index.search(ASKED, 3)
    wanted = rerank(ASKED, [f"{hit.passage.title}\n{hit.passage.text}" for hit in hits])
    index.close()
    assert [hit.score for hit in hits] == pytest.approx(sorted(wanted.tolist(), reverse=True), abs=1e-5)
    assert all(hit.explain["rerank"] == hit.score and 0 < hit.explain["blend"] < 1 for hit in hits)


def test_a_reranker_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"the reranker .*nowhere cannot be loaded"):
        Reranker(str(tmp_path / "nowhere"))("a", ["b"])


# HTTP and command line


def test_the_api_narrows_a_search_explains_it_and_labels_documents(tmp_path: Path) -> None:
    with queued_bot(tmp_path) as bot:
        admin = TestClient(bot.app, headers={"Authorization": f"Bearer {bot.keys['admin']}"})
        river = next(d["id"] for d in admin.get("/v1/documents").json()["data"] if d["source"] == "river.md")
        kept = admin.put(f"/v1/documents/{river}/labels", json={"collection": "places", "tags": ["b", "a", "a"]})
        assert kept.json()["collection"] == "places" and kept.json()["tags"] == ["a", "b"]
        body = {"query": "the river and the bread", "filter": {"tag": "a"}}
        [found] = admin.post("/v1/search", json=body).json()["data"]
        assert found["document"] == river and found["explain"]["rank"] == 1
        refused = admin.post("/v1/search", json={"query": "x", "filter": {"colour": "red"}})
        assert refused.status_code == 422 and "colour" in refused.json()["error"]["message"]
        assert admin.post("/v1/search", json={"query": "x", "filter": {"tag": "z"}}).status_code == 404
        chat = TestClient(bot.app, headers={"Authorization": f"Bearer {bot.keys['chat']}"})
        assert chat.put(f"/v1/documents/{river}/labels", json={"tags": []}).status_code == 403


def test_the_commands_label_narrow_explain_and_calibrate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path / "data"))
    (tmp_path / "river.md").write_text(RIVER)
    (tmp_path / "bread.md").write_text(BREAD)
    assert main(["ingest", str(tmp_path / "river.md"), str(tmp_path / "bread.md")]) == 0
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    river = next(row["id"] for row in json.loads(capsys.readouterr().out) if row["source"].endswith("river.md"))
    assert main(["label", river, "--collection", "places", "--tag", "water"]) == 0
    assert "collection places, tags water" in capsys.readouterr().out
    assert main(["search", "river or bread", "--tag", "water", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["document"] == river and set(ranking.MEASURES) < set(found["explain"])
    assert main(["search", ASKED, "--collection", "nowhere"]) == 1
    assert "no document has collection nowhere" in capsys.readouterr().err
    rows = [{"question": f"{ASKED} {i}", "document": "river.md"} for i in range(20)]
    lines = [json.dumps(row) for row in [*rows, {"question": "zebra quantum tax", "document": None}]]
    (tmp_path / "asked.jsonl").write_text("\n".join(lines))
    assert main(["calibrate", str(tmp_path / "asked.jsonl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["answerable"] == 20 and report["unanswerable_refused"] == 1 and 0.2 < report["min_score"] < 1
    (tmp_path / "asked.jsonl").write_text("no json")
    assert main(["calibrate", str(tmp_path / "asked.jsonl")]) == 1
    assert "cannot be read" in capsys.readouterr().err
