# Everything the book needs, in one place; CI runs nothing that is not here. `make help` lists the targets.
PYTHON ?= python3
SEEDS ?= 10
JOBS ?= 2
TORCH ?= auto

BIN := .venv/bin
READY := .venv/.ready
PAGES := _build/html
# Pages are rendered by .venv where there is one, and else by a small environment, which has no torch.
BOOK_READY := $(if $(wildcard $(READY)),$(READY),.venv-book/.ready)
BOOK_BIN := $(dir $(BOOK_READY))bin
RUN_PYTEST = $(BIN)/python -m pytest -q
heading = @printf '\n== %s == (%s)\n' "$(1)" "$$(date +%T)"

.DEFAULT_GOAL := help
.PHONY: help setup book serve lab test check notebooks evidence repository pins clean

# Tests and notebooks run on one thread each: two at a time fill two cores, and the numbers do not depend on the machine.
test notebooks: export OMP_NUM_THREADS := 1
test notebooks: export MKL_NUM_THREADS := 1
test notebooks: export OPENBLAS_NUM_THREADS := 1

help: ## list what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with exactly the pinned packages; TORCH=cpu or TORCH=cuda says which torch Linux gets

$(READY): requirements.txt pyproject.toml
	$(need_python)
	@echo "Installing the pinned packages into .venv (some minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python tools/torch_build.py $(TORCH)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-book/.ready: requirements-book.txt
	$(need_python)
	@echo "Installing what renders the book into .venv-book (a minute, the first time)"
	@$(PYTHON) -m venv .venv-book
	@.venv-book/bin/python -m pip install -qq --disable-pip-version-check -r requirements-book.txt
	@touch $@

define need_python
@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) here; the book needs Python 3.11, 3.12 or 3.13" >&2; exit 1; }
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	{ echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), the book needs 3.11, 3.12 or 3.13; name one: PYTHON=python3.12 make ..." >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "error: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
endef

# After a failed build Sphinx would not repeat the warnings of pages it has already read, so such a build is thrown away.
book: $(BOOK_READY) ## render the book into _build/html from the stored outputs; executes nothing
	@echo "Rendering the book"
	@$(BOOK_BIN)/jupyter-book build . -q -W --keep-going >/dev/null || { rm -rf _build/.doctrees $(PAGES); exit 1; }
	@echo "The book is ready: open $(PAGES)/index.html in a browser, or type \`make serve\`."

serve: book ## serve the rendered book at http://localhost:8000
	@$(BOOK_BIN)/python -m http.server 8000 --bind 127.0.0.1 --directory $(PAGES)

lab: $(READY) ## open JupyterLab on the book's notebooks
	$(BIN)/jupyter lab --notebook-dir=. chapters

test: $(READY) ## run everything CI runs
	@$(MAKE) --no-print-directory check
	$(call heading,Unit tests)
	$(RUN_PYTEST) --ignore=tests/book -m "not slow" -n 2
	$(call heading,Notebooks: every cell runs and the verdicts are the stored ones)
	$(RUN_PYTEST) --nbval-lax --nbval-kernel-name python3 --nbval-cell-timeout 300 -W default -n 2 --dist loadscope chapters
	$(call heading,The book)
	@$(MAKE) --no-print-directory book
	$(call heading,The book in a browser)
	$(RUN_PYTEST) -m "not slow" -n 2 tests/book
	$(call heading,Slow tests: the wheel in an empty environment and whatever else takes long)
	$(RUN_PYTEST) -m slow $$(grep -rl --include='test_*.py' 'mark\.slow' tests)

check: $(READY) ## check style, layers, spelling, links and slugs
	$(call heading,Style · layers · spelling · links)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	$(BIN)/python tools/check.py
	$(BIN)/python tools/repository.py check

notebooks: $(READY) ## execute the notebooks whose sources changed, in place; ALL=1 for all
	@nice $(BIN)/python tools/notebooks.py --jobs $(JOBS) $(if $(ALL),--all)

evidence: $(READY) ## record a paper's full run: make evidence PAPER=continual/power_law_rehearsal
	@test -n "$(PAPER)" || { echo "error: name the paper: make evidence PAPER=<chapter>/<paper> [SEEDS=10] [JOBS=2]" >&2; exit 2; }
	@nice $(BIN)/stages run $(PAPER) --profile full --seeds $(SEEDS) --jobs $(JOBS) --out data/evidence

repository: ## show the repository's address; set it everywhere: make repository URL=https://host/owner/name
	@$(PYTHON) tools/repository.py $(if $(findstring command line,$(origin URL)),set "$(URL)",show)

pins: ## resolve both requirements files anew from the ranges in pyproject.toml
	$(PYTHON) tools/pins.py

clean: ## remove the rendered book and caches; ALL=1 removes the environments too
	rm -rf _build .pytest_cache .ruff_cache .import_linter_cache dist $(if $(ALL),.venv .venv-book)
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
