# `make demo` and `make test` need nothing but Python >= 3.11: each makes .venv and installs into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

.PHONY: demo demo-clips demo-scenes demo-cards demo-alpro test quality bench style clean

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
	$(BIN)/python -m pytest -n 2 --dist loadfile

quality: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy scripts  # apart: scripts/evaluate.py would hide the library evaluate
	$(BIN)/lint-imports

style: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/installed
	$(BIN)/hf-prompt benchmark coop

clean:
	rm -rf $(VENV) $(DEMO) runs build *.egg-info src/*.egg-info
