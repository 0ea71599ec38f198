"""Claims about the expected speed of the trainer: measured once, and who must not wait gets a guess until then."""

import threading

import pytest

from scheduler.speed import Speed


def test_who_cannot_wait_gets_a_guess_and_it_is_measured_once() -> None:
    goes, asked = threading.Event(), list[int]()

    def measure() -> float:
        asked.append(1)
        goes.wait(30)
        return 421.0

    speed = Speed(measure, guess=150.0)
    assert speed.soon() == 150.0
    goes.set()
    assert (speed.known(), speed.soon(), len(asked)) == (421.0, 421.0, 1)


def test_what_cannot_be_measured_stays_the_guess(capsys: pytest.CaptureFixture[str]) -> None:
    def measure() -> float:
        raise OSError("no process can be started")

    speed = Speed(measure, guess=150.0)
    assert (speed.known(), speed.soon()) == (150.0, 150.0)
    assert "150 tokens/s stand for it: no process can be started" in capsys.readouterr().err
