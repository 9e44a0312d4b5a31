# The commands of a day's work. Meson and ninja do the building; this only remembers the words.
BUILD  ?= build
PREFIX ?= /usr/local
SUITE  ?= ../shared/testsuite/wasm-core
CC     := clang-19

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

help:
	@echo 'make              build into $(BUILD)/ (the command is $(BUILD)/atoll)'
	@echo 'make deps         install the Debian packages that are missing (root or sudo)'
	@echo 'make demo         deps, build, and show a program that moves and a node with functions'
	@echo 'make test         deps, build, and run every test that needs no network'
	@echo 'make check-all    make test, conformance, other engines, sanitizers, fuzzers'
	@echo 'make conformance  run the official suite in SUITE=DIR ($(SUITE))'
	@echo 'make bench        print the tables of atoll bench and of bench/'
	@echo 'make install      install below PREFIX=DIR ($(PREFIX))'
	@echo 'make format       lay the sources out with clang-format'
	@echo 'make clean        remove the build directories'

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo 'meson is missing: `make deps` installs what the build needs' >&2; exit 1; }
	CC=$(CC) meson setup $(BUILD)

deps:
	@tools/install-dependencies

demo: deps all
	@examples/wordcount/demo.sh $(BUILD)/atoll
	@examples/wordcount-chain/demo.sh $(BUILD)/atoll

test: deps all
	@tests/check $(BUILD) unit floors simulation scenario

check-all: deps all
	@SIMULATION_SEEDS=10000 \
	    tests/check $(BUILD) unit floors simulation scenario conformance differential traps sanitizers fuzz

conformance: all
	@ATOLL_SUITE=$(SUITE) tests/check $(BUILD) conformance

bench: all
	@bench/run $(BUILD)

install: all
	meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX))
	meson install -C $(BUILD)

format:
	clang-format-19 -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

clean:
	rm -rf build build-asan build-tsan build-fuzz

# `deps` must be through before anything is built.
.NOTPARALLEL:

.PHONY: all help deps demo test check-all conformance bench install format clean
