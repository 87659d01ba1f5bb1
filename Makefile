# Doctor Derma: `make help` lists the targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# The index of PyTorch's own CPU wheels, if wanted: its address stands on pytorch.org.
TORCH_INDEX ?=
# SERVE=0 ends the demo after the last step instead of serving.
SERVE ?= 1
PORT ?= 5555
DEMO := demo
DEMO_DERMA := $(BIN)/derma --root $(DEMO)
MODELS := resnet18 se_resnet18 eca_resnet18

.DEFAULT_GOAL := help
.PHONY: help setup demo serve web champion tracking test-fast test every-test coverage mutation siege test-containers requirements lint docs clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Set up .venv with everything

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or newer is needed; name it: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),$(BIN)/pip install 'torch>=2.8' torchvision --index-url $(TORCH_INDEX))
	$(BIN)/pip install --editable '.[train,scale,dicom,dev]'
	touch $@

demo: setup ## Synthetic data to a served model, in demo/ (SERVE=0: don't serve)
	rm -rf $(DEMO)
	$(DEMO_DERMA) data synthesize
	$(foreach model,$(MODELS),$(DEMO_DERMA) train --config code/configs/demo.yaml --model $(model) --name $(model) &&) true
	$(foreach model,$(MODELS),$(DEMO_DERMA) evaluate $(model) &&) true
	$(DEMO_DERMA) compare $(MODELS)
	$(DEMO_DERMA) promote
	$(DEMO_DERMA) predict $(DEMO)/data/test/mel
	@echo "Reports: $(DEMO)/evaluation_images/*/report.html. Runs: make tracking ROOT=$(DEMO)"
ifneq ($(SERVE),0)
	$(DEMO_DERMA) serve --port $(PORT)
endif

serve: setup ## Serve the shipped champion at http://localhost:5555
	$(BIN)/derma serve --port $(PORT)

web: setup ## Write the browser edition to deployment/web/site (needs npm, of Node.js)
	@command -v npm >/dev/null || { echo "make: npm is missing; install Node.js 18 or newer, which brings it"; exit 1; }
	cd deployment/web && npm ci
	$(BIN)/derma web deployment/web/site

champion: setup ## Train the shipped network again from data/ (a GPU: minutes; two cores: a day)
	for step in pack search folds student refine ship; do $(BIN)/python code/champion $$step || exit; done

ROOT ?= .
tracking: setup ## Open MLflow at http://localhost:5001 (ROOT=demo for the demo's runs)
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow server --backend-store-uri sqlite:///$(abspath $(ROOT))/mlflow/db/mlflow.db --host 127.0.0.1 --port 5001

# A process a core; the tests of a file stay together, and share what they have made. The files
# are taken in the order of tests/conftest.py, not by how many tests they have. For a process that
# crashes xdist would start another, and wait for it for ever at the end.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

FAST := -m 'not slow and not browser and not siege'

test-fast: setup ## The tests that a change needs first: no training, cluster or browser
	$(PYTEST) $(FAST)

test: setup ## Lint, types and every test, side by side
	$(MAKE) --no-print-directory --jobs=2 lint every-test

# Ray's last, one after the other: a cluster takes ten processes, and beside other tests it starves.
every-test: setup
	failed=0; $(PYTEST) --ignore=tests/distributed || failed=1; \
	$(BIN)/python -m pytest tests/distributed || failed=1; exit $$failed

coverage: setup ## Lines and branches of the package that quick tests run: 79% or more
	$(PYTEST) $(FAST) --cov --cov-report= --cov-fail-under=0
	$(PYTEST) tests/commands tests/tracking --cov --cov-append --cov-report=term

# In a copy, so that nobody imports a mutant. CI: Hypothesis draws the same examples each time.
mutation: setup ## Change a line of the metrics, splits and the like at a time: do the tests notice?
	rm -rf build/mutation
	mkdir -p build/mutation
	cp -R code build/mutation/src
	cp -R tests pyproject.toml build/mutation
	cd build/mutation && CI=true OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/mutmut run
	cd build/mutation && $(CURDIR)/$(BIN)/mutmut results

siege: setup ## Attack a server in 512 MB for minutes (DERMA_SIEGE=long: a quarter of an hour)
	$(BIN)/python -m pytest tests/siege -m siege -s

test-containers: setup ## Build, start and try both compose stacks (needs a Docker engine)
	DERMA_CONTAINERS=1 $(BIN)/python -m pytest tests/containers --timeout=3000 -v -rA

requirements: setup ## Pin what deployment/ installs again, with hashes
	$(BIN)/pip install --quiet uv
	PATH="$(abspath $(BIN)):$$PATH" deployment/requirements.sh

lint: setup ## Ruff, mypy and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup ## Build the site of docs/ in site/, with every link checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean: ## Remove the demo and caches
	rm -rf $(DEMO) build site .pytest_cache .ruff_cache .mypy_cache .hypothesis .grimp_cache .import_linter_cache .coverage
