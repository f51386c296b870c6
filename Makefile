# The two commands of the README: `make run` and `make test`. Everything else serves them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --no-compile
OUT    ?= runs/quick
ENV    ?= CarRacing-v3
PRESET ?= quick
COUNT  ?= 100000

.PHONY: run test fuzz test-faults test-cluster setup format lint type docs notebook clean

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# Bytecode is left to whoever imports a module first: of torch and Ray most is never imported, and compiling it all
	@# took longer than anything else here. Super Mario Bros has no wheel for Python 3.11 and 3.12: without a C++ compiler
	@# the rest is installed without it, and its tests are skipped.
	$(PIP) --editable '.[dev,mario]' || { $(PIP) --editable '.[dev]' && \
	  echo "frmdn: gym-super-mario-bros could not be built (it needs g++); its tests are skipped."; }
	@# Hershey-Fonts installs its own tests under the name `tests`, where workers would find them in place of ours.
	@rm -rf $(VENV)/lib/python3*/site-packages/tests
	touch $@

$(VENV)/.emulator: $(VENV)/.ready
	@# The same emulator compiled as one program is 1.6 times as fast; where that fails the package's own build plays.
	$(BIN)/frmdn emulator || true
	touch $@

setup: $(VENV)/.ready $(VENV)/.emulator

run: setup
	$(BIN)/frmdn run --env $(ENV) --preset $(PRESET) --out $(OUT)

test: # builds the documentation too: tests/docs/test_site.py
	@# Mypy and the emulator's compiler keep a core busy each.
	$(MAKE) --jobs 2 setup lint type
	@# Processes of one thread each: the tests' tensors are small, and threads that wait for each other are slower than
	@# none. Three for two cores, because a test that starts Ray or other programs waits more than it computes. The tests of
	@# a file stay together, for they share what is slow to make; tests/conftest.py says which file comes first.
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

test-cluster: setup # three machines of network namespaces with a Ray node in each; needs root
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cluster tests/cluster

fuzz: setup # changed inputs for every reader, into docs/results/fuzz.json; stop it anywhere and call it again: it goes on
	$(BIN)/python -m tests.fuzz --count $(COUNT)

test-faults: setup # kills, full disks and more at random moments, into docs/results/faults.json; twenty minutes at most
	$(BIN)/python -m tests.faults --seconds 1140

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.ready
	@# The folders bear one name only once they are installed: links show mypy the package as it will be.
	@rm -rf build/types && mkdir -p build/types/frmdn
	@ln -s $(CURDIR)/frmdn/*.py $(addprefix $(CURDIR)/,agent envs rollouts controller pipeline benchmarks) build/types/frmdn/
	$(BIN)/mypy

docs: setup
	@# NO_MKDOCS_2_WARNING silences the theme's word about its own future; see docs/decisions/0010-docs.md.
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html"

notebook: setup # runs the notebook of the tutorial, and keeps what it shows
	$(BIN)/python docs/machinery/execute.py docs/tutorial/in-minutes.ipynb

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache
