# Latchkey's commands. `make` alone lists them.
#
# PYTHON           the interpreter that .venv is made with   make serve PYTHON=python3.13
# ARGS             more arguments for pytest                 make test ARGS='-x -k revoke'
# FASTCACHE_BUILD  another build mode, see setup.py          make test FASTCACHE_BUILD=debug
# FREE_THREADED    a Python without the GIL, to measure too  make bench FREE_THREADED=python3.13t

PYTHON = python3
ARGS   =
export FASTCACHE_BUILD ?= release
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start many processes: each would compile the whole application anew.
unexport PYTHONDONTWRITEBYTECODE

py      = .venv/bin/python
install = $(py) -m pip install --quiet --constraint constraints.txt
built   = .venv/.built-$(FASTCACHE_BUILD)
sources = setup.py $(wildcard fastcache/*.pyx fastcache/*.pxd fastcache/*.h fastcache/*/*.pyx \
          fastcache/*/*.pxd latchkey/*/*.pyx latchkey/*/*.pxd)
checked = $(wildcard app fastcache latchkey tests benchmarks scripts/*.py setup.py)

# A module's tests share what they started. Twice as many processes as the smallest box has cores,
# since tests wait for services; in the order of the files, of which the longest are not the last.
parallel = --numprocesses=4 --dist=loadfile --no-loadscope-reorder

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help serve test test-long attack lint format docs reference screenshots coverage test-sanitized \
        test-freethreaded test-thread-sanitized wheel test-wheel bench bench-cache bench-overhead bench-load \
        bench-scale clean prerequisites ready

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

serve: $(built) ## Set up, make the first keys, and serve on 127.0.0.1:8080
	@.venv/bin/latchkey init && exec .venv/bin/latchkey serve

test: ready ## Set up, and run the tests with bounded rounds
	@$(py) -m pytest $(parallel) $(ARGS)

test-long: ready ## Run the same tests at full figures
	@$(py) -m pytest $(parallel) --long --timeout=3600 $(ARGS)

attack: ready ## Run the hostile tests alone: kills, races, faults, damage, fuzzing
	@$(py) -m pytest $(parallel) --long --timeout=3600 -m attack $(ARGS)

lint: ready ## Check style, types, Cython, the Dockerfile and the subjects of commits
	@$(py) -m ruff check $(checked)
	@$(py) -m ruff format --check $(checked)
	@$(py) -m mypy $(checked)
	@PATH=.venv/bin:"$$PATH" cython-lint $(filter %.pyx %.pxd,$(sources))
	@.venv/bin/hadolint deploy/Dockerfile
	@$(py) scripts/check_subjects.py

format: ready ## Rewrite the code in the project's format
	@$(py) -m ruff check --fix-only $(checked)
	@$(py) -m ruff format $(checked)

# ---- Set-up: stamps in .venv say what is done, so that a step runs again only when it has to.

prerequisites:
	@scripts/prerequisites.sh "$(PYTHON)"

# No stamp, or an interpreter that has gone, is an unfinished or broken .venv: it is made anew.
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

# While this runs the other stamp is away: an interrupted installation is never taken for a whole one.
.venv/.tools: .venv/.runtime
	@echo "Installing the tools for tests, lint and benchmarks ..."
	@mv .venv/.runtime .venv/.unfinished
	@$(call requirements,test lint bench)
	@mv .venv/.unfinished .venv/.runtime
	@touch $@

ready: .venv/.tools $(built)

# Installs what pyproject.toml lists under the names given: build, runtime, or an extra.
requirements = $(py) -c "$$LISTED" $(1) > .venv/.listed && $(install) --requirement .venv/.listed

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

# ---- Other builds: each in a copy of this tree with a .venv of its own, so that this one stays as it is.

copied = --exclude=./.git --exclude='./.venv' --exclude='./.*_cache' --exclude=./.hypothesis \
         --exclude=./build --exclude=./dist --exclude=./data --exclude=./secrets \
         --exclude='*.so' --exclude=__pycache__

# A fresh copy in build/$(1), compiled in that mode; only its .venv is kept.
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

# Not among the tools: only the site needs it.
.venv/.docs: .venv/.runtime
	@echo "Installing the tools for the documentation ..."
	@$(call requirements,docs)
	@touch $@

reference: ready ## Write the pages of docs/reference/ that are made from the code
	@$(py) scripts/write_reference.py

screenshots: ready ## Take the pictures of the console that docs/ shows, with Debian's chromium
	@$(py) -m tests.support.browser.screenshots

coverage: ## Run the tests on a traced build; the Python code and .pyx must each reach 95 %
	$(call copy,coverage)
	@cd build/coverage/build/cython/coverage && find . -name '*.c' -exec cp --parents {} ../../.. \;
	@cd build/coverage && { failed=0; \
	    $(py) -m coverage run -m pytest $(parallel) --timeout=1200 $(ARGS) || failed=1; \
	    $(py) -m coverage combine --quiet || failed=1; \
	    $(py) -m coverage report --include='app/**/*.py,latchkey/**/*.py' --fail-under=95 || failed=1; \
	    $(py) -m coverage report --include='fastcache/**/*.pyx,latchkey/**/*.pyx' --fail-under=95 || failed=1; \
	    exit $$failed; }

# pytest must not capture the sanitizers' output.
test-sanitized: ## Run the compiled code's tests under the address and undefined-behaviour sanitizers
	$(call copy,sanitize)
	@cd build/sanitize && \
	    LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
	    $(py) -m pytest --capture=sys --timeout=600 tests/fastcache tests/auth $(ARGS)

# A fresh copy of fastcache and its tests in build/$(1), compiled in the mode $(2) by an
# interpreter without the GIL; its .venv is kept while it is of that interpreter. Of the
# constraints only those of the model, whose order of iteration the contract's tests compare, and
# of the fake clock: hypothesis has no newer wheel for this one.
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

# ThreadSanitizer of older compilers cannot do with addresses as random as Linux makes them.
fixed = setarch --addr-no-randomize

test-thread-sanitized: ## Run the threaded tests of fastcache under the thread sanitizer: PYTHON=…
	@"$(PYTHON)" -c "$$IS_THREAD_SANITIZED"
	$(call copy-freethreaded,threads,threads,$(fixed))
	@cd build/threads && TSAN_OPTIONS="suppressions=$(CURDIR)/tests/fastcache/tsan.supp" \
	    $(fixed) $(py) -m pytest --capture=sys --timeout=1200 tests/fastcache/test_cache_threads.py \
	    tests/fastcache/test_cached.py tests/fastcache/test_cached_flights.py \
	    tests/fastcache/test_cache_hostile.py $(ARGS)

HAS_NO_GIL = import sys, sysconfig; \
    sysconfig.get_config_var("Py_GIL_DISABLED") or sys.exit( \
        sys.executable + " has the GIL: give PYTHON=/path/to/python3.13t, or a later one")
ITS_PLACE = import sys; print(sys.base_prefix)
IS_THREAD_SANITIZED = import sys, sysconfig; \
    "--with-thread-sanitizer" in (sysconfig.get_config_var("CONFIG_ARGS") or "") or sys.exit( \
        sys.executable + " is not made --with-thread-sanitizer: see CONTRIBUTING.md")
export HAS_NO_GIL ITS_PLACE IS_THREAD_SANITIZED

wheel: .venv/.runtime ## Build the wheel into dist/
	@rm -rf dist build/lib* build/bdist*
	@FASTCACHE_BUILD=release $(py) -m pip --quiet wheel --no-deps --no-build-isolation -w dist .
	@ls dist/*.whl

test-wheel: ready ## Build the wheel, install it into empty environments, serve applications from it
	@$(py) -m pytest --long --timeout=3600 tests/packaging $(ARGS)

# ---- Benchmarks: of the wheel, in environments of their own; what is imported is what is installed.

bench      = build/bench/default
bench_free = $(if $(FREE_THREADED),build/bench/free-threaded)

bench: prerequisites ## Measure everything, report it, and write docs/benchmarks.md; ARGS=--quick
	$(call run-bench,all $(given_free))

bench-cache: prerequisites ## Measure the cache alone; or bench-overhead, bench-load, bench-scale
	$(call run-bench,cache $(given_free))

bench-overhead bench-load bench-scale: bench-%: prerequisites
	$(call run-bench,$*)

given_free = $(if $(bench_free),--free-threaded $(bench_free)/bin/python)

define run-bench
	@scripts/bench-environment.sh "$(PYTHON)" $(bench)
	@test -z "$(bench_free)" || scripts/bench-environment.sh "$(FREE_THREADED)" $(bench_free) peers
	@$(bench)/bin/latchkey-bench $(1) $(ARGS)
endef

clean: ## Remove .venv and everything built; keys and data stay
	@rm -rf .venv build dist *.egg-info .coverage .coverage.* .hypothesis .*_cache
	@rm -f fastcache/*.so fastcache/*/*.so latchkey/*/*.so
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
