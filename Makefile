# The development commands of Latchkey. `make` without a target lists them.
#
# PYTHON           the interpreter for .venv                 make serve PYTHON=python3.13
# ARGS             more arguments for pytest                 make test ARGS='-x -k revoke'
# FASTCACHE_BUILD  another build mode, see setup.py          make test FASTCACHE_BUILD=debug
# FREE_THREADED    also measure a Python without the GIL     make bench FREE_THREADED=python3.13t

PYTHON = python3
ARGS   =
export FASTCACHE_BUILD ?= release
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start many processes; without bytecode files, each would compile the application again.
unexport PYTHONDONTWRITEBYTECODE

py      = .venv/bin/python
install = $(py) -m pip install --quiet --constraint constraints.txt
built   = .venv/.built-$(FASTCACHE_BUILD)
sources = setup.py $(wildcard fastcache/*.pyx fastcache/*.pxd fastcache/*.h fastcache/*/*.pyx \
          fastcache/*/*.pxd latchkey/*/*.pyx latchkey/*/*.pxd)
checked = $(wildcard app fastcache latchkey tests benchmarks examples scripts/*.py setup.py)

# --dist=loadfile: the tests of a module share services. Four processes also on a machine with two
# cores, since tests mostly wait. tests/conftest.py puts the longest files first; the order is kept.
parallel = --numprocesses=4 --dist=loadfile --no-loadscope-reorder

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve test test-long attack lint format docs reference screenshots coverage test-sanitized \
        test-freethreaded test-thread-sanitized test-lowest test-integration wheel test-wheel dist release bench \
        bench-cache bench-overhead bench-load bench-scale bench-boxes bench-verify bench-limits clean prerequisites ready

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' Makefile

serve: $(built) ## Set up, create the first keys, and serve on 127.0.0.1:8080
	@.venv/bin/latchkey init && exec .venv/bin/latchkey serve

# The tests with faults of running services, a browser, other servers, built packages, complete pages and
# measurements take long. `make test-integration` runs them in place of `make test`. The other targets run
# them with the rest.
apart = tests/benchmarks tests/browser tests/faults tests/packaging tests/pages tests/servers

test: ready ## Set up, and run the tests with bounded rounds
	@$(py) -m pytest $(parallel) $(addprefix --ignore=,$(apart)) $(ARGS)

test-integration: .venv/.proxies ready ## Run the tests with PostgreSQL, proxies, a browser and other servers
	@PATH="$$PATH:/usr/sbin" $(py) -m pytest $(parallel) --integration --timeout=300 tests/integration \
	    tests/store/contract tests/api $(apart) $(ARGS)

test-long: .venv/.proxies ready ## Run all tests with the full number of rounds
	@$(py) -m pytest $(parallel) --long --timeout=3600 $(ARGS)
	@PATH="$$PATH:/usr/sbin" $(py) -m pytest $(parallel) --long --integration --timeout=7200 tests/integration $(ARGS)

attack: ready ## Run only the hostile tests: kills, races, faults, damage, fuzzing
	@$(py) -m pytest $(parallel) --long --timeout=3600 -m attack $(ARGS)

lint: ready ## Check style, types, Cython, the Dockerfile and the subjects of commits
	@$(py) -m ruff check $(checked)
	@$(py) -m ruff format --check $(checked)
	@MYPYPATH=examples/fastapi_orders:examples/flask_orders:examples/ledger $(py) -m mypy $(checked)
	@PATH=.venv/bin:"$$PATH" cython-lint $(filter %.pyx %.pxd,$(sources))
	@.venv/bin/hadolint deploy/Dockerfile
	@$(py) scripts/check_subjects.py

format: ready ## Format the code
	@$(py) -m ruff check --fix-only $(checked)
	@$(py) -m ruff format $(checked)

# ---- Set-up: stamp files in .venv record finished steps, so that a step runs again only if needed.

prerequisites:
	@scripts/prerequisites.sh "$(PYTHON)"

# Without the stamp or the interpreter, .venv is unfinished or broken, and is created again.
.venv/.runtime: pyproject.toml constraints.txt .venv/bin/python | prerequisites
	@echo "Installing into .venv ..."
	@"$(PYTHON)" -m venv --clear .venv
	@$(call requirements,build runtime service)
	@touch $@

.venv/bin/python: ;

$(built): .venv/.runtime $(sources) | prerequisites
	@echo "Compiling ($(FASTCACHE_BUILD)) ..."
	@rm -f .venv/.built-*
	@$(install) --no-deps --no-build-isolation --editable .
	@touch $@

# The other stamp is moved away meanwhile, so that an interrupted installation starts again.
.venv/.tools: .venv/.runtime
	@echo "Installing the tools for tests, lint and benchmarks ..."
	@mv .venv/.runtime .venv/.unfinished
	@$(call requirements,postgresql test lint bench)
	@mv .venv/.unfinished .venv/.runtime
	@touch $@

ready: .venv/.tools $(built)

# Separate from the other tools, because only the tests with proxies need them.
.venv/.proxies: .venv/.tools
	@echo "Installing the reverse proxies for tests ..."
	@$(call requirements,proxies)
	@touch $@

# Installs the requirements that pyproject.toml lists: build, runtime, or the name of an extra.
requirements = $(py) -c "$$LISTED" $(1) > $(dir $(py)).listed && \
               $(install) --requirement $(dir $(py)).listed

define LISTED
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    table = tomllib.load(file)
project = table["project"]
listed = {"build": table["build-system"]["requires"], "runtime": project["dependencies"]}
listed |= project["optional-dependencies"]
for name in sys.argv[1:]:
    print(*listed[name], sep="\n")
endef
export LISTED

# ---- Other builds: each in a copy of this tree with its own .venv, so that this one is unchanged.

copied = --exclude=./.git --exclude='./.venv' --exclude='./.*_cache' --exclude=./.hypothesis \
         --exclude=./build --exclude=./dist --exclude=./data --exclude=./secrets \
         --exclude='*.so' --exclude=__pycache__

# Creates a fresh copy in build/$(1), compiled in that mode. Only the .venv of the copy is kept.
define copy
	@mkdir -p build/$(1)
	@find build/$(1) -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
	@rm -f build/$(1)/.venv/.built-*
	@tar $(copied) -cf - . | tar -xf - -C build/$(1)
	@$(MAKE) --no-print-directory -C build/$(1) FASTCACHE_BUILD=$(1) ready
endef

docs: .venv/.docs $(built) ## Build the documentation as a site, in build/site
	@NO_MKDOCS_2_WARNING=1 $(py) -m mkdocs build --strict
	@$(py) scripts/check_site.py build/site
	@echo "Open build/site/index.html"

# Separate from the other tools, because only the site needs them.
.venv/.docs: .venv/.runtime
	@echo "Installing the tools for the documentation ..."
	@$(call requirements,docs)
	@touch $@

reference: ready ## Write the generated pages of docs/reference/
	@$(py) scripts/write_reference.py

screenshots: ready ## Take the screenshots of the console in docs/, with Debian's chromium
	@$(py) -m tests.support.browser.screenshots

# The data is written to a directory that every user can write to, since tests also start services of
# other users.
coverage: ## Measure the coverage of the tests; Python and Cython must each reach 95 %
	$(call copy,coverage)
	@cd build/coverage/build/cython/coverage && find . -name '*.c' -exec cp --parents {} ../../.. \;
	@cd build/coverage && { failed=0; data=$$(mktemp -d); chmod 1777 "$$data"; export COVERAGE_FILE="$$data/all"; \
	    $(py) -m coverage run -m pytest $(parallel) --timeout=1200 $(ARGS) || failed=1; \
	    $(py) -m coverage combine --quiet || failed=1; \
	    mv "$$COVERAGE_FILE" .coverage; export COVERAGE_FILE=.coverage; rm -rf "$$data"; \
	    $(py) -m coverage report --include='app/**/*.py,latchkey/**/*.py' --fail-under=95 || failed=1; \
	    $(py) -m coverage report --include='fastcache/**/*.pyx,latchkey/**/*.pyx' --fail-under=95 || failed=1; \
	    exit $$failed; }

# pytest must not capture the sanitizers' output.
test-sanitized: ## Run the tests of compiled code under AddressSanitizer and UBSan
	$(call copy,sanitize)
	@cd build/sanitize && \
	    LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
	    $(py) -m pytest --capture=sys --timeout=600 tests/fastcache tests/auth $(ARGS)

# Creates a fresh copy of fastcache and its tests in build/$(1), compiled in the mode $(2) for an
# interpreter without the GIL. The .venv of the copy is kept if it has the same interpreter. Only
# cachetools, the model for the order of iteration, and the fake clock have fixed versions;
# hypothesis has no newer wheel for this interpreter.
define copy-freethreaded
	@"$(PYTHON)" -c "$$HAS_NO_GIL"
	@mkdir -p build/$(1)
	@find build/$(1) -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
	@tar $(copied) -cf - fastcache tests docs/reference/fastcache.md setup.py pyproject.toml | tar -xf - -C build/$(1)
	@cd build/$(1) && \
	    { test "$$($(3) $(py) -c "$$ITS_PLACE" 2>&1)" = "$$($(3) "$(PYTHON)" -c "$$ITS_PLACE")" || \
	        $(3) "$(PYTHON)" -m venv --clear .venv; } && \
	    $(3) $(py) -m pip install --quiet 'Cython>=3.1' setuptools pytest \
        $$(grep -E '^(cachetools|freezegun)==' $(CURDIR)/constraints.txt) \
	        pytest-timeout 'hypothesis<6.150' && \
	    FASTCACHE_BUILD=$(2) $(3) $(py) setup.py --quiet build_ext --inplace
endef

test-freethreaded: ## Run fastcache's tests without the GIL: PYTHON=.../python3.13t
	$(call copy-freethreaded,freethreaded,release,)
	@cd build/freethreaded && $(py) -m pytest --timeout=600 tests/fastcache $(ARGS)

# The ThreadSanitizer of older compilers fails with the address randomization of recent kernels.
fixed = setarch --addr-no-randomize

test-thread-sanitized: ## Run the threaded tests of fastcache under ThreadSanitizer: PYTHON=…
	@"$(PYTHON)" -c "$$IS_THREAD_SANITIZED"
	$(call copy-freethreaded,threads,threads,$(fixed))
	@cd build/threads && TSAN_OPTIONS="suppressions=$(CURDIR)/tests/fastcache/tsan.supp" \
	    $(fixed) $(py) -m pytest --capture=sys --timeout=1200 tests/fastcache/test_cache_threads.py \
	    tests/fastcache/test_cached.py tests/fastcache/test_cached_flights.py \
	    tests/fastcache/test_cache_hostile.py $(ARGS)

HAS_NO_GIL = import sys, sysconfig; \
    sysconfig.get_config_var("Py_GIL_DISABLED") or sys.exit( \
        sys.executable + " has the GIL: set PYTHON=/path/to/python3.13t, or a later version")
ITS_PLACE = import sys; print(sys.base_prefix)
IS_THREAD_SANITIZED = import sys, sysconfig; \
    "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "") or sys.exit( \
        sys.executable + " was not built --with-thread-sanitizer: see CONTRIBUTING.md")
export HAS_NO_GIL ITS_PLACE IS_THREAD_SANITIZED

# A fresh copy in build/lowest with the compiled modules of this tree, and the lowest versions that
# pyproject.toml allows; its .venv is kept while these stay the same.
define copy-lowest
	@mkdir -p build/lowest
	@find build/lowest -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
	@tar $(filter-out --exclude='*.so',$(copied)) -cf - . | tar -xf - -C build/lowest
	@tar -cf - build/cython/$(FASTCACHE_BUILD) | tar -xf - -C build/lowest
	@scripts/lowest-constraints.sh > build/lowest/constraints.txt
	@touch -r constraints-lowest.txt build/lowest/constraints.txt
	@$(MAKE) --no-print-directory -C build/lowest .venv/.tests $(built)
endef

# fastcache is compared with cachetools as it is pinned, and benchmarks are only run with what is pinned.
test-lowest: $(built) ## Run the tests with the lowest versions that pyproject.toml allows, in build/lowest
	$(call copy-lowest)
	@cd build/lowest && $(py) -m pytest $(parallel) --ignore=tests/fastcache --ignore=tests/benchmarks $(ARGS)

.venv/.tests: .venv/.runtime
	@$(call requirements,postgresql test)
	@touch $@

wheel: .venv/.runtime ## Build the wheel into dist/
	@rm -rf dist build/lib* build/bdist*
	@FASTCACHE_BUILD=release $(py) -m pip --quiet wheel --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

test-wheel: ready ## Test the wheel in empty environments
	@$(py) -m pytest --long --timeout=3600 tests/packaging $(ARGS)

# ---- Releases: the tools are in an environment of their own.

released = build/release/bin/python

build/release/.tools: private py = $(released)
build/release/.tools: pyproject.toml constraints.txt | prerequisites
	@"$(PYTHON)" -m venv --clear build/release
	@$(call requirements,release)
	@touch $@

dist: build/release/.tools ## Build the source distribution and a manylinux wheel per CPython into dist/
	@$(released) -m scripts.build_dist $(ARGS)

release: ready build/release/.tools ## Check, build and tag the version of pyproject.toml; ARGS=--dry-run
	@$(released) scripts/release.py $(ARGS)

# ---- Benchmarks: they measure the installed wheel, in separate environments.

bench      = build/bench/default
bench_free = $(if $(FREE_THREADED),build/bench/free-threaded)

bench: prerequisites ## Run all benchmarks and write docs/benchmarks.md; ARGS=--quick
	$(call run-bench,all $(given_free))

bench-cache: prerequisites ## Run one benchmark: bench-cache, -overhead, -load, -scale, -boxes, -verify or -limits
	$(call run-bench,cache $(given_free))

bench-overhead bench-load bench-scale bench-boxes bench-verify bench-limits: bench-%: prerequisites
	$(call run-bench,$*)

given_free = $(if $(bench_free),--free-threaded $(bench_free)/bin/python)

define run-bench
	@scripts/bench-environment.sh "$(PYTHON)" $(bench)
	@test -z "$(bench_free)" || scripts/bench-environment.sh "$(FREE_THREADED)" $(bench_free) peers
	@$(bench)/bin/latchkey-bench $(1) $(ARGS)
endef

clean: ## Remove .venv and all build results, but not keys and data
	@rm -rf .venv build dist *.egg-info .coverage .coverage.* .hypothesis .*_cache
	@rm -f fastcache/*.so fastcache/*/*.so latchkey/*/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
