"""Claims about every command's end: a sentence and status 1 for what a person can act on, status 2 for wrong usage."""

from collections.abc import Callable
from pathlib import Path

import pytest

import finetune.__main__
import scheduler.__main__
import store.__main__
from store.lines import text_lines

Main = Callable[[list[str]], int]
OF: dict[str, Main] = {
    "finetune": finetune.__main__.main,
    "scheduler": scheduler.__main__.main,
    "store": store.__main__.main,
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RATCHET_DATA", str(tmp_path / "var"))
    (tmp_path / "bytes").write_bytes(b'{"question": "\xff"}')
    (tmp_path / "numbers").write_text('\n\n{"question": 5}\n')
    (tmp_path / "line").write_text('\n\n{"claim": 5}\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"id": "a"}\n{"id"')
    (tmp_path / "data" / "funnel.json").write_text('{"digest": "d"}')
    return tmp_path


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("store import {data}/bytes --format openai", "bytes is no UTF-8 text: invalid start byte at byte 14"),
        ("store import {data}/none --format openai", "none cannot be read: No such file or directory"),
        ("store backup {data}/none/x.db", "none/x.db cannot be written: unable to open database file"),
        ("scheduler classify {data}/bytes", "bytes is no UTF-8 text"),
        ("scheduler classify {data}/numbers", "numbers, line 3: question, answer and passages are texts"),
        ("finetune judge {data}/bytes", "bytes is no UTF-8 text"),
        ("finetune judge {data}/line", "Line 3: found the fields"),
        ("finetune prepare --out {data}/bytes", "bytes: File exists"),
        ("finetune train --data {data}/data --out {data}/mine", "train.jsonl, line 2 is damaged"),
    ],
)
def test_what_a_person_can_act_on_is_a_sentence_and_status_1(
    data: Path, capsys: pytest.CaptureFixture[str], command: str, sentence: str
) -> None:
    program, *arguments = command.format(data=data).split()
    assert OF[program](arguments) == 1
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_a_file_that_begins_with_a_byte_order_mark_is_read_as_without(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = '{"claim": "It is 40 km long.", "passages": ["The road is 40 km long."]}\n'
    (data / "rows").write_text(row, encoding="utf-8-sig")
    assert OF["finetune"](["judge", "--metric", "support", str(data / "rows")]) == 0, capsys.readouterr().err
    messages = '[{"role": "user", "content": "How long?"}, {"role": "assistant", "content": "40 km."}]'
    (data / "log").write_text(f'{{"messages": {messages}}}\n', encoding="utf-8-sig")
    assert OF["store"](["import", str(data / "log"), "--format", "openai"]) == 0, capsys.readouterr().err
    assert list(text_lines(data / "rows")) == [(1, row.rstrip())]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("RATCHET_DATABASE_URL", "foo://x", "the database address cannot be used"),
        ("RATCHET_DATABASE_URL", "garbage", "the database address cannot be used"),
        ("RATCHET__SERVER__HOST", "[", "RATCHET__SERVER__HOST is '[', which YAML cannot read"),
        ("RATCHET__SCHEDULER__CRON", "nonsense", "setting scheduler.cron is 'nonsense'"),
        ("RATCHET__SCHEDULER__CRON", "0 0 30 2 *", "setting scheduler.cron is '0 0 30 2 *'"),
        ("RATCHET__SCHEDULER__CRON", "0 0 1 1 1 1", "expected the five fields of cron"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    assert store.__main__.main(["cycles"]) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["finetune train", "finetune evaluate", "store approve v1", "store rollback", "store"]
)
def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str], command: str) -> None:
    program, *arguments = command.split()
    try:
        status = OF[program](arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2 and capsys.readouterr().err


def test_a_secret_of_digits_is_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATCHET__VLLM__API_KEY", "123456")
    assert store.__main__.main(["cycles"]) == 0
