# make demo and make test do all set-up themselves; the second run installs nothing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PEERS := $(VENV)/.peers

.PHONY: demo test lint docs bench bench-forecasting sanitize ulp kernel-times fuzz emulator clean install

demo: $(INSTALLED)
	$(BIN)/python examples/demo.py

# Two processes of one thread each: faster on two cores than one process with two threads.
test: lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# BENCH holds arguments, such as BENCH="--case infer --rounds 9"; then there are no charts.
bench: $(PEERS)
	$(BIN)/python -m benchmarks $(BENCH)
	$(if $(BENCH),,$(BIN)/python -m benchmarks.charts)

# Stops after 15 minutes, and goes on where it stopped when it is called again.
bench-grid: $(INSTALLED)
	$(BIN)/python -m benchmarks.grid $(GRID)

bench-forecasting: $(INSTALLED)
	$(BIN)/python -m benchmarks.forecasting

# The C++ tests under the sanitizers; make test runs them too, with warnings as errors.
sanitize: $(INSTALLED)
	for kind in address,undefined thread; do \
	  $(BIN)/cmake -S native -B build/$$kind -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DLSTMKIT_BUILD_TESTS=ON -DLSTMKIT_SANITIZE=$$kind && \
	  $(BIN)/cmake --build build/$$kind && $(BIN)/ctest --test-dir build/$$kind --output-on-failure || exit 1; \
	done

# Sigmoid and tanh of every float on every instruction set of this machine: some minutes.
ulp: $(INSTALLED)
	$(BIN)/cmake -S native -B build/ulp -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DLSTMKIT_BUILD_TESTS=ON
	$(BIN)/cmake --build build/ulp --target lstmkit_activations_test
	build/ulp/lstmkit_activations_test 1

# What the kernels of a plain LSTM take, each alone with its data in the caches; SIZES="inputs units rows".
kernel-times: SIZES ?= 64 64 66
kernel-times: $(INSTALLED)
	$(BIN)/cmake -S native -B build/kernel-times -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DLSTMKIT_BUILD_TESTS=ON
	$(BIN)/cmake --build build/kernel-times --target lstmkit_kernel_times_test
	build/kernel-times/lstmkit_kernel_times_test $(SIZES)

# Draws layers of any kind for so many minutes and compares them with the reference.
fuzz: MINUTES ?= 10
fuzz: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python tests/ops/test_native_fuzz.py $(MINUTES)

# What tests/native/test_aarch64.py needs, on Debian and Ubuntu. Says why where it cannot install it; those tests are skipped then.
emulator:
	@scripts/install_emulator

install: $(INSTALLED)

# Python sources are used in place; only what the install reads makes it run again.
$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(shell find native -type f)
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("lstmkit needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

# The libraries that we compare with; a missing one is named in the tables, so their failure is not ours.
$(PEERS): $(INSTALLED) benchmarks/peers/requirements.txt
	-$(BIN)/python -m pip install --quiet -c constraints.txt -r benchmarks/peers/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build demo-output .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find src tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} +
