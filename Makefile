# Two commands do everything on a bare machine: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
TORCH ?=
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
PYTEST := $(BIN)/python -m pytest
OFFSCREEN := QT_QPA_PLATFORM=offscreen

.PHONY: run test lint test-long test-gpu bench bundle bundle-smoke wheel-smoke screenshots system screen clean demo

run: screen $(VENV)/.installed
	$(BIN)/segstudio $(ARGS)

test: system $(VENV)/.installed-dev lint
	$(OFFSCREEN) $(PYTEST) -n 2 --dist loadgroup -m "not long and not gpu" tests

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-long: system $(VENV)/.installed-long
	$(OFFSCREEN) $(PYTEST) -m "long" -rs tests

# No new environment: only torch, numpy, cv2, Pillow, safetensors and pytest of the python named.
test-gpu:
	PYTHONPATH=.:plugins $(PYTHON) -m pytest -c tests/gpu/pytest.ini -m gpu -s -p no:cacheprovider --import-mode=importlib tests/gpu

bench: system $(VENV)/.installed-dev
	$(OFFSCREEN) $(BIN)/python -m tests.benchmarks $(ARGS)

# From an environment of its own, so that nothing installed by hand slips into the bundle.
bundle: system $(VENV)-bundle/.installed
	$(VENV)-bundle/bin/pyinstaller --noconfirm --distpath dist --workpath build segstudio.spec

$(VENV)-bundle/.installed: pyproject.toml constraints.txt scripts/install.sh
	$(PYTHON) -m venv $(VENV)-bundle
	scripts/install.sh $(VENV)-bundle/bin/python "$(TORCH)" bundle
	@touch $@

# The pictures of docs/tutorial.md, from the real window with the demo.
screenshots: system $(VENV)/.installed
	$(OFFSCREEN) $(BIN)/python scripts/screenshots.py docs/images

bundle-smoke:
	@scripts/system_libraries.sh venv screen xvfb xauth
	scripts/bundle_smoke.sh dist/segstudio

wheel-smoke: $(VENV)/.installed-dev
	scripts/wheel_smoke.sh $(BIN)/python

system:
	@scripts/system_libraries.sh venv

screen:
	@scripts/system_libraries.sh venv screen

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml constraints.txt scripts/install.sh
	scripts/install.sh $(BIN)/python "$(TORCH)"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	scripts/install.sh $(BIN)/python "$(TORCH)" dev
	@touch $@

$(VENV)/.installed-long: $(VENV)/.installed-dev
	scripts/install.sh $(BIN)/python "$(TORCH)" dev long
	@touch $@

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache

# Renders training pictures, trains the demo's networks and packs them (an hour and a half on two cores).
demo: $(VENV)/.installed
	$(BIN)/python scripts/train_demo.py
