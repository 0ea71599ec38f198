"""Claims about half precision: it says what the whole says, and is used only where the processor computes in it."""

from pathlib import Path

import numpy as np
import pytest

from bot.models import PACKAGED_EMBEDDING, embedding_model
from retrieval import ranking
from retrieval.embedding import Embedder
from retrieval.halves import HalfEncoder, computes_in_halves
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def half() -> HalfEncoder:
    return HalfEncoder(embedding_model(PACKAGED_EMBEDDING))


def test_vectors_in_half_precision_are_those_of_the_embedder_but_for_a_thousandth(
    half: HalfEncoder, embedder: Embedder
) -> None:
    page = (ROOT / "docs" / "handbook").glob("*.md")
    texts = [part for file in sorted(page)[:2] for part in ranking.sentences(file.read_text())]
    whole, made = embedder.encode(texts), half(texts)
    assert made.dtype == np.float32 and made.shape == whole.shape
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    assert (whole * made).sum(axis=1).min() > 0.999
    assert np.abs(whole @ whole.T - made @ made.T).max() < 0.02


def test_an_empty_text_has_a_vector_of_unit_length_too(half: HalfEncoder) -> None:
    assert abs(float(np.linalg.norm(half([""])[0])) - 1) < 1e-5


@pytest.mark.parametrize(
    ("described", "fast"),
    [
        ("processor : 0\nflags\t\t: fpu sse2 avx512_bf16 amx_tile\n", True),
        ("processor : 0\nflags\t\t: fpu amx_bf16\n", True),
        ("processor : 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("model name : amx_bf16\n", False),
        ("", False),
    ],
)
def test_only_a_processor_that_says_so_computes_in_halves(tmp_path: Path, described: str, fast: bool) -> None:
    (tmp_path / "cpuinfo").write_text(described)
    assert computes_in_halves(tmp_path / "cpuinfo") is fast


def test_a_machine_that_describes_no_processor_computes_in_full(tmp_path: Path) -> None:
    assert computes_in_halves(tmp_path / "missing") is False
