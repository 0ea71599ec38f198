"""Claims about the ingest command: a watched folder is followed, and Ctrl-C leaves what was done."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from store import documents
from store.database import open_database
from tests.conftest import ROOT


def sources(folder: Path) -> list[str]:
    database = open_database(f"sqlite:///{folder}/data/ratchet.db")
    with database.read() as session:
        found = [Path(document.source).name for document, _ in documents.present(session)]
    database.close()
    return sorted(found)


def until(folder: Path, wanted: list[str]) -> None:
    for _ in range(100):
        if sources(folder) == wanted:
            return
        time.sleep(0.2)
    assert sources(folder) == wanted


def test_a_watched_folder_is_followed_until_ctrl_c(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Aare\n\nThe river Aare is long.\n")
    (docs / "bad.pdf").write_bytes(b"hello")
    environment = {**os.environ, "RATCHET_DATA": str(tmp_path / "data")}
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "retrieval", "ingest", str(docs), "--watch"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        assert "bad.pdf: the file is not a PDF" in said[0] and said[1] == "1 new or changed, 0 unchanged, 1 skipped.\n"
        assert said[2].startswith("watching for changes")
        time.sleep(1)
        (docs / "b.txt").write_text("The river Rhine is longer.")
        until(tmp_path, ["a.md", "b.txt"])
        (docs / "a.md").unlink()
        until(tmp_path, ["b.txt"])
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and rest.endswith("stopped watching.\n") and "Traceback" not in errors
