# make run | test | demo | check | bench | test-slow | test-gpu | test-vllm
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
WORKERS ?= 2
SUITE := sh scripts/suite.sh $(PY) $(WORKERS)
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: run test demo check bench test-slow test-gpu test-vllm install browser starter

run: install
	@$(PY) -m bot serve

install:
	@PYTHON="$(PYTHON)" sh scripts/install.sh "$(VENV)"

browser: install
	@sh scripts/browser.sh

test: browser
	$(SUITE)

test-slow: browser
	OMP_NUM_THREADS=1 $(PY) -m pytest -m slow

test-gpu: install
	$(VENV)/bin/pip install -q -c constraints.txt -e ".[gpu]"
	$(PY) -m pytest -m gpu

test-vllm: install
	@bash scripts/vllm_cpu.sh var/vllm
	OMP_NUM_THREADS=1 $(PY) -m pytest -m vllm

check: browser
	$(VENV)/bin/ruff format --check . && $(VENV)/bin/ruff check . && $(VENV)/bin/mypy && $(SUITE)

starter: install
	OMP_NUM_THREADS=1 $(PY) examples/starter.py

demo: install
	@$(PY) examples/demo.py

bench: install
	@for name in exchange train train_gpu serve swap beside threads heap retrieval ingest tasks reclassify curate faults judge ppi gate gate_rated cheats poison learning watch pages; do echo "== bench/$$name.py"; $(PY) -m bench.$$name || exit 1; done
