# SPDX-License-Identifier: Apache-2.0
#
# The verbs; `make help` lists them. Each is a line or two: what they do lives in tools/ and in meson.

SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# T: pattern of names. S: seconds a fuzz target. RUNS: rounds of torture.
T ?=
S ?= 60
RUNS ?= 100
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)
export PINFOLD ?= $(CURDIR)/build/pinfold
export PINFOLD_IMAGE_DIR ?= $(CURDIR)/.work/image

.PHONY: all deps build asan unit check wire fault fuzz torture bench e2e demo image format top clean install help

all: build ## debug build, warnings are errors (build/pinfold)

deps: ## install what building needs and is missing
	@tools/deps.sh build

build: deps
	@tools/configure.sh build
	@ninja -C build -j $(JOBS)

asan: ## clang build with ASan and UBSan (build-asan/), unit tests and fuzz corpora on it
	@tools/deps.sh build test
	@tools/configure.sh build-asan
	@ninja -C build-asan -j $(JOBS)
	@tools/tests.sh unit build-asan '$(T)'

unit: build ## unit tests and fuzz corpora; T=PATTERN picks by name
	@tools/tests.sh unit build '$(T)'

check: ## everything below that has a yes or no: install, build twice, static checks, all tests
	@tools/deps.sh build
	@exec tools/check

wire: build ## wire tests with the official SDK; T=PATTERN picks by name
	@tools/deps.sh build test
	@tools/tests.sh wire '$(T)'

fault: build ## crash, disk and abuse tests; T=PATTERN picks by name
	@tools/deps.sh build test
	@tools/tests.sh fault '$(T)'

fuzz: ## libFuzzer with ASan and UBSan; T=TARGET (else all), S=seconds each, KEEP=1 adds finds to the corpus
	@tools/deps.sh build test
	@tools/configure.sh build-fuzz
	@KEEP='$(KEEP)' tools/fuzz.sh '$(T)' '$(S)'

torture: build ## kill at random, count what is lost; RUNS=N; last line runs= kills= lost= doubled=
	@tools/deps.sh build test
	@tools/tests.sh torture '$(RUNS)'

bench: build ## the figures, each with its reference; T=PATTERN picks by name
	@tools/deps.sh build bench
	@tools/tests.sh bench '$(T)'

e2e: build ## the main job with a second official client
	@tools/deps.sh build test
	@tools/tests.sh e2e '$(T)'

demo: ## one real job in a real sandbox, from nothing, without a key
	@tools/deps.sh build demo
	@$(MAKE) --no-print-directory build
	@exec tools/tests.sh demo

image: build ## the base image of the sandboxes, if it is missing
	@tools/deps.sh build test
	@tools/image.sh

format: ## rewrite every C file with clang-format-14
	@tools/deps.sh build test
	@tools/check-format --fix

top: ## longest functions, highest complexity, most parameters, biggest files
	@tools/deps.sh build test
	@tools/top

install: build ## into $(DESTDIR)$(PREFIX)
	@meson configure build -Dprefix='$(PREFIX)'
	@meson install -C build

clean: ## remove the build folders; keeps the base image and npm packages
	rm -rf build build-asan build-fuzz

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):[^#]*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10
