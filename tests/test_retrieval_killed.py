"""Claims about kill -9 while files are ingested: store and index agree at the next start, whatever the moment."""

from pathlib import Path

import pytest

from bench.ingest_killed import killed


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_passage_and_leave_no_document_half_there(tmp_path: Path) -> None:
    found = killed(tmp_path / "data", kills=3, chunks=600, seed=4)
    assert (found.chunks, found.missing, found.missed, found.broken) == (600, 0, 0, 0)
    assert len(found.ready) == 4 and max(found.ready) < 60
