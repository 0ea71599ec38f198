"""The demo on the real 135M model: the candidate must cite measurably better on held-out questions."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_demo_trains_promotes_swaps_and_rolls_back():
    done = subprocess.run([sys.executable, "examples/demo.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "verdict: promote" in done.stdout
    assert " 0 lost" in done.stdout
