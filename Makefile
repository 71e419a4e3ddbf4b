# `make demo` and `make test` need nothing but Python >= 3.11: each makes .venv and installs into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

CLIPS := $(DEMO)/clips
SCENES := $(DEMO)/scenes
CARDS := $(DEMO)/cards
CAPTIONED := $(DEMO)/captioned

.PHONY: demo demo-clips demo-scenes demo-cards demo-alpro test quality bench style notebooks clean

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/python scripts/make_playground.py images $(DEMO)/pictures --seed 1
	$(BIN)/python scripts/train.py coop --backbone playground --train_dir $(DEMO)/pictures/train \
		--test_dir $(DEMO)/pictures/test --shots 16 --min_crop_area 0.5 --output_dir $(DEMO)/coop
	$(BIN)/python scripts/predict.py $(DEMO)/coop "$$(find $(DEMO)/pictures/test -name '*.png' | sort | head -n 1)"

demo-clips: $(VENV)/installed
	$(BIN)/python scripts/make_playground.py clips $(CLIPS) --seed 1 --train_per_class 64 --test_per_class 25
	$(BIN)/python scripts/train.py action_clip --backbone playground --train_dir $(CLIPS)/train --test_dir $(CLIPS)/test \
		--flip false --rand_augment false --post_network mean --learning_rate 5e-4 --num_train_epochs 5 \
		--output_dir $(DEMO)/mean
	$(BIN)/python scripts/train.py action_clip --backbone playground --train_dir $(CLIPS)/train --test_dir $(CLIPS)/test \
		--flip false --trainable head --post_network transf --learning_rate 1e-4 --num_train_epochs 100 \
		--output_dir $(DEMO)/transf
	$(BIN)/python scripts/predict.py $(DEMO)/transf "$(CLIPS)/test/growing/000.mp4" --frame_strip $(DEMO)/growing.png

demo-scenes: $(VENV)/installed
	$(BIN)/python scripts/make_playground.py scenes $(SCENES) --seed 1 --train 300 --test 300
	for shots in 1 4 16; do \
		$(BIN)/python scripts/train.py cpt --backbone playground --train_dir $(SCENES)/train --test_dir $(SCENES)/test \
			--shots $$shots --seeds 0 --learning_rate 1e-4 --num_train_epochs 60 --loss listwise --sample_regions false \
			--output_dir $(DEMO)/cpt-$$shots || exit 1; \
	done
	@echo "Pictures of the answers: $(DEMO)/cpt-16/zero_shot_answers.png and answers.png"

demo-cards: $(VENV)/installed
	$(BIN)/python scripts/make_playground.py cards $(CARDS) --seed 1 --train 4000 --test 200
	for blind in false true; do \
		$(BIN)/python scripts/train.py mantis --language_model playground --vision_model playground --blind $$blind \
			--train_file $(CARDS)/train/products.jsonl --test_file $(CARDS)/test/products.jsonl \
			--validation_fraction 0 --num_image_tokens 4 --learning_rate 1e-3 --vision_rate_factor 1 \
			--projection_rate_factor 1 --num_train_epochs 5 --per_device_train_batch_size 32 --num_beams 1 \
			--max_new_tokens 16 --output_dir $(DEMO)/mantis-blind-$$blind || exit 1; \
	done
	$(BIN)/python scripts/make_playground.py score-cards --seeing $(DEMO)/mantis-blind-false/predictions.jsonl \
		--blind $(DEMO)/mantis-blind-true/predictions.jsonl --images $(CARDS)/test --picture $(DEMO)/cards.png

demo-alpro: $(VENV)/installed
	$(BIN)/python scripts/make_playground.py captioned_clips $(CAPTIONED) --seed 1 --train 300 --test 100 --questions 6
	$(BIN)/python scripts/train.py alpro --task retrieval --backbone playground --num_frames 4 --sampling segments \
		--train_file $(CAPTIONED)/train/captions.jsonl --test_file $(CAPTIONED)/test/captions.jsonl \
		--learning_rate 1e-4 --num_train_epochs 1 --per_device_train_batch_size 32 --output_dir $(DEMO)/retrieval
	$(BIN)/python scripts/train.py alpro --task question-answering --backbone playground --num_frames 4 --sampling segments \
		--train_file $(CAPTIONED)/train/questions.jsonl --test_file $(CAPTIONED)/test/questions.jsonl --rand_augment false \
		--learning_rate 1e-3 --num_train_epochs 8 --per_device_train_batch_size 32 --gradient_accumulation_steps 1 \
		--output_dir $(DEMO)/answers
	$(BIN)/python scripts/predict.py $(DEMO)/retrieval $(CAPTIONED)/test --text "a red key moves to the left" \
		--index $(DEMO)/index
	@echo "Pictures: $(DEMO)/retrieval/answers.png and $(DEMO)/answers/answers.png"

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

notebooks: $(VENV)/installed  # execute those of examples/ and write their outputs anew
	$(BIN)/python -m tests.examples.execute

bench: $(VENV)/installed
	$(BIN)/python scripts/benchmark.py coop

clean:
	rm -rf $(VENV) $(DEMO) runs build *.egg-info src/*.egg-info
