# make demo: train on small digits, then a report with pictures.    make test: all the checks.
# Both set up everything they need in .venv; a second call installs nothing again.
# make results: the demo's numbers and pictures in README and docs/, made anew (with Chromium).
# make test-torch: the comparisons with PyTorch, and what another version of Python may change.

# The newest Python that is there; PYTHON=python3.11 takes another.
PYTHON ?= $(or $(shell tools/find_python),python3)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-torch lint results clean

demo: $(VENV)/.installed
	$(BIN)/python main.py --config=configs/digits.py --workdir=runs/demo
	$(BIN)/python main.py --mode=eval --workdir=runs/demo

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-torch: $(VENV)/.installed-torch lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "torch or versions"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

results: $(VENV)/.installed-dev
	$(BIN)/python -m tools.results

clean:
	rm -rf $(VENV) .venv-torch .jax_cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info

$(VENV)/.installed: requirements.txt | $(BIN)/python
	@echo "Installing what the program needs into $(VENV) (a few minutes the first time)"
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-torch: requirements-torch.txt $(VENV)/.installed-dev
	$(PIP) -r requirements-torch.txt
	@# Its pins are those of another time (requests 2.25, torchvision); the attacks need torch alone.
	$(PIP) --no-deps torchattacks==3.5.1
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or later is needed, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing); name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@# Half an environment would pass for a whole one at the next call.
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
