# The commands of people and of CI. Only python3 and make are needed; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where pip takes torch from, if not from where it takes everything: the address of PyTorch's index of CPU builds.
TORCH_INDEX ?=
SERVE ?=
BENCH ?=
PYTEST ?=
# Tests run on two processes of one thread each.
TEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: help serve test test-all compatibility check bench bench-guard bench-photos soak overload fuzz audit bench-peers bench-training docs release format clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' Makefile

serve: $(VENV)/.serve ## install what serving needs and serve models/ at http://127.0.0.1:8000 (SERVE="--port 9000")
	@$(BIN)/hourglass serve $(SERVE)

test: $(VENV)/.dev ## install what tests need, torch included, and run all but the slow ones (PYTEST="-k codec")
	@$(TEST) -m "not slow and not browser" $(PYTEST)

test-all: $(VENV)/.dev ## run every test, those marked slow and browser too
	@$(TEST) $(PYTEST)

compatibility: $(VENV)/.dev ## run the tests of what is accepted and refused, write docs/compatibility.md; what cannot run is "not verified"
	@$(TEST) -m compatibility --compatibility=docs/compatibility.json $(PYTEST)
	@$(BIN)/python -m docs.generate

check: $(VENV)/.dev ## lint, types, walls
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

format: $(VENV)/.dev ## rewrite the code in the house style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.dev ## measure the service beside its floors, a few minutes; needs wrk (BENCH="--only png,bulk")
	@$(BIN)/python -m benchmarks $(BENCH)

bench-guard: $(VENV)/.dev ## the same, stored nowhere: fail where a ratio has fallen behind the stored run of this kind of processor
	@$(BIN)/python -m benchmarks --guard $(BENCH)

bench-photos: $(VENV)/.dev ## measure the photo models on whole photographs, beside onnxruntime alone; ten minutes
	@$(BIN)/python -m benchmarks.photographs $(BENCH)

soak: $(VENV)/.dev ## good, bad, slow and leaving callers and an operator for minutes: nothing may fail or grow (SOAK="--minutes 60")
	@$(BIN)/python -m benchmarks.soak $(SOAK)

overload: $(VENV)/.dev ## five times what can be done, and a crowd of large photographs; three minutes
	@$(BIN)/python -m benchmarks.overload $(BENCH)

fuzz: $(VENV)/.dev ## what reads strangers' bytes, under atheris, a minute each (FUZZ="picture --seconds 600")
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/pip install -q -e '.[fuzz]'
	@$(BIN)/python -m tests.support.fuzz $(FUZZ)

audit: $(VENV)/.dev ## known holes of what is installed; what their database does not tell, as without a network, is named
	@$(BIN)/python -c "import pip_audit" 2>/dev/null || $(BIN)/pip install -q -e '.[audit]'
	@$(BIN)/pip-audit --local --skip-editable --progress-spinner off

bench-peers: $(VENV)/.dev ## install its peers, each into an environment of its own, and measure them and the service
	@$(BIN)/python -m benchmarks.peers.install
	@$(BIN)/python -m benchmarks.peers $(BENCH)

bench-training: $(VENV)/.dev ## measure images/s of the training loop against a plain DataLoader
	@$(BIN)/python -m benchmarks.training_loop

docs: $(VENV)/.dev ## build the documentation into site/: generated tables, API pages; fails on broken links and missing docstrings
	@$(BIN)/python -c "import zensical, mkdocstrings" 2>/dev/null || $(BIN)/pip install -q -e '.[docs]'
	@$(BIN)/python -m docs.generate
	@$(BIN)/zensical build --clean --strict
	@$(BIN)/python -m docs.check_site

release: $(VENV)/.release ## build and check the wheel, its SBOM and, where Docker runs, the image, into dist/
	@PYTHON=$(BIN)/python deploy/release.sh

clean: ## remove what the other commands made
	rm -rf $(VENV) dist site docs/api .cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hourglass needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "python3 -m venv failed: on Debian, apt install python3-venv"; exit 1; }

$(VENV)/.serve: pyproject.toml | $(BIN)/python
	@echo "installing what serving needs into $(VENV) (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu]'
	@touch $@

$(VENV)/.dev: $(VENV)/.serve
	@echo "installing what tests and training need into $(VENV) (once; torch is large)"
	@$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 --index-url $(TORCH_INDEX))
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cpu,training,dev]'
	@touch $@

$(VENV)/.release: pyproject.toml | $(BIN)/python
	@echo "installing what a release needs into $(VENV) (once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check $$($(BIN)/python -c 'import tomllib; \
		print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["release"])')
	@touch $@
