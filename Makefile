# `make demo` and `make test` need nothing but Python >= 3.11: each makes .venv and installs into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo demo-clips demo-scenes demo-cards demo-alpro test test-slow test-hub test-matrix test-transformers test-web docs quality bench style notebooks clean

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/hf-prompt demo images --output_dir $(DEMO)

demo-clips: $(VENV)/installed
	$(BIN)/hf-prompt demo clips --output_dir $(DEMO)

demo-scenes: $(VENV)/installed
	$(BIN)/hf-prompt demo scenes --output_dir $(DEMO)

demo-cards: $(VENV)/installed
	$(BIN)/hf-prompt demo cards --output_dir $(DEMO)

demo-alpro: $(VENV)/installed
	$(BIN)/hf-prompt demo captioned_clips --output_dir $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal

# What takes minutes, and the rarer forms of what `make test` runs: TESTS="tests/docs tests/hub" for some of it.
test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow and not web and not hub' $(TESTS)

# Published checkpoints, some GB from the Hub, against published values; it skips all and says what it would have checked
# where no Hub answers.
test-hub: $(VENV)/installed
	HF_PROMPT_TEST_HUB=1 $(BIN)/python -m pytest tests/hub_checkpoints -m hub -rsP

# Other versions of Python, transformers, …: CELLS="floors bare --fresh" for some of tests/matrix.py, made again.
test-matrix:
	$(PYTHON) tests/matrix.py $(CELLS)

# transformers' own common tests over every class; they come from the package index. TESTS="..." for some of them.
test-transformers: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[transformers-tests]'
	$(BIN)/python -m tests.transformers_common $(TESTS)

# The pages in Debian's Chromium; HF_PROMPT_SCREENSHOTS=1 draws docs/images/app-*.png again.
CHROMIUM ?= /usr/bin/chromium

test-web: $(VENV)/installed-web
	@test -x $(CHROMIUM) || command -v apt-get >/dev/null || { echo "Install Chromium and name it: make test-web CHROMIUM=..."; exit 1; }
	test -x $(CHROMIUM) || apt-get install --yes --no-install-recommends chromium || { \
		echo "Install Chromium as root: apt-get update && apt-get install chromium"; exit 1; }
	CHROMIUM=$(CHROMIUM) $(BIN)/python -m pytest tests/web -m web

$(VENV)/installed-web: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[web]'
	touch $@

quality: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy scripts  # apart: scripts/evaluate.py would hide the library evaluate
	$(BIN)/lint-imports
	$(BIN)/python -m tests.wording
	$(BIN)/codespell

docs: $(VENV)/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "The documentation is in site/index.html"

style: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

notebooks: $(VENV)/installed  # execute those of examples/ and write their outputs again
	$(BIN)/python -m tests.examples.execute

# Every row of docs/performance.md, for hours on a quiet machine: BENCH="--quick --allow_busy" for tiny sizes.
BENCH ?= --page

bench: $(VENV)/installed
	$(BIN)/python scripts/benchmark.py all $(BENCH)

clean:
	rm -rf $(VENV) .matrix $(DEMO) runs site build *.egg-info src/*.egg-info
