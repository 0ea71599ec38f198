"""Claims about reading a text word by word: one pass gives the embedding and a vector for every word in its context."""

import numpy as np

from retrieval.embedding import Embedder


def test_reading_gives_the_embedding_and_a_unit_vector_for_every_word(embedder: Embedder) -> None:
    texts = ["The river's bank is steep.", "My bank lends money at 3%", ""]
    river, money, nothing = embedder.read(texts)
    whole = embedder.encode(texts)
    assert all(np.abs(one.vector - row).max() < 1e-5 for one, row in zip((river, money, nothing), whole, strict=True))
    assert river.words == ("the", "river", "'", "s", "bank", "is", "steep", ".")
    assert river.in_context.shape == (len(river.words), whole.shape[1])
    assert np.allclose(np.linalg.norm(money.in_context, axis=1), 1, atol=1e-5)
    assert nothing.words == () and nothing.in_context.shape == (0, whole.shape[1])


def test_a_word_means_what_its_sentence_makes_of_it(embedder: Embedder) -> None:
    texts = ["The river's bank is steep.", "They sat on the bank of the river.", "My bank lends money."]
    steep, sat, lends = (read.in_context[read.words.index("bank")] for read in embedder.read(texts))
    assert float(steep @ sat) > max(float(lends @ steep), float(lends @ sat)) + 0.05
