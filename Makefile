# make demo and make test do all of their own set-up. `make help` lists the rest.
SWIFT ?= swift
PREFIX ?= /usr/local
RELEASE = -c release --static-swift-stdlib
# With dependencies optimized too: a mount test starts the program several times, and half of the suite's time went into
# reading its options by an unoptimized library.
TESTS = --build-tests -Xswiftc -O

.PHONY: help setup venv build package test test-long test-packages lint demo bench bench-training bench-progress faults fuzz allocations profile install clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

setup: ## install what this machine lacks (apt-get, no questions)
	@.ci/setup

venv:
	@Tests/Tools/make-venv.sh .build/venv

build: setup ## the program, in .build/release/millrace
	$(SWIFT) build $(RELEASE) --product millrace

package: ## wheel, .deb, .tar.gz, OCI image, debug symbols and SBOM, in .build/dist
	@.ci/setup package
	@SWIFT=$(SWIFT) Sources/Packaging/build

test: setup venv ## all tests, with real mounts and real servers
	$(SWIFT) build $(TESTS)
	@SWIFT=$(SWIFT) .ci/test

test-long: setup venv ## the tests that make test leaves out: full-size faults, large data sets
	$(SWIFT) build $(TESTS)
	@SWIFT=$(SWIFT) .ci/test long

test-packages: venv ## install what make package made, in a venv, three distributions and a container (root)
	@.ci/setup test-packages
	@Tests/Packages/run

lint: ## layout of the source and the house's rules
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests
	.ci/tidy

demo: ## a bucket, a mount, two epochs of PyTorch
	@.ci/setup demo
	@Tests/Tools/make-venv.sh .build/venv
	$(SWIFT) build $(RELEASE) --product millrace
	$(SWIFT) build $(RELEASE) --product MillraceDemo
	@exec .build/release/MillraceDemo

bench: ## this mount beside others; ARGS=--help says what can be chosen
	@.ci/setup bench
	@Tests/Tools/make-venv.sh .build/venv
	$(SWIFT) build $(RELEASE) --product millrace
	$(SWIFT) build $(RELEASE) --product MillraceBench
	$(SWIFT) build $(RELEASE) --product MillraceLink
	@exec .build/release/MillraceBench $(ARGS)

bench-training: ## training loops on this mount beside others; ARGS=--help says what can be chosen
	@.ci/setup bench
	@Tests/Tools/make-venv.sh .build/venv
	$(SWIFT) build $(RELEASE) --product millrace
	$(SWIFT) build $(RELEASE) --product MillraceBench
	$(SWIFT) build $(RELEASE) --product MillraceLink
	@exec .build/release/MillraceBench training $(ARGS)

bench-progress: ## orders in caches and memory of many sizes: fetched beside the least, speed beside none; ARGS=--help
	@.ci/setup bench
	$(SWIFT) build $(RELEASE) --product millrace
	$(SWIFT) build $(RELEASE) --product MillraceBench
	$(SWIFT) build $(RELEASE) --product MillraceLink
	@exec .build/release/MillraceBench progress $(ARGS)

faults: setup venv ## a store in trouble at full size: 2,000 files, 1 GiB, 16 readers, eight faults at once
	$(SWIFT) build $(TESTS)
	MILLRACE_TESTS=long $(SWIFT) test --skip-build --filter aMixOfFaultsAtFullSize

FUZZ_SECONDS ?= 30
fuzz: setup ## libFuzzer over every parser of what strangers write, FUZZ_SECONDS each
	MILLRACE_ONLY=fuzz $(SWIFT) build --sanitize fuzzer --sanitize address -c release \
	  -Xswiftc -enable-testing --scratch-path .build/fuzz --product MillraceFuzz
	@.ci/fuzz $(FUZZ_SECONDS)

allocations: setup venv ## the test that counts allocations on the path of a hit
	$(SWIFT) build $(TESTS)
	$(SWIFT) test --skip-build --filter AllocationTests

profile: allocations venv ## what a read costs the daemon: allocations, instructions, symbols (root, perf, valgrind)
	$(SWIFT) build $(RELEASE) --product millrace
	python3 Tests/Tools/profile.py .build/release/millrace

install: build ## to $(PREFIX)/bin
	install -D -m 755 .build/release/millrace $(DESTDIR)$(PREFIX)/bin/millrace

clean: ## remove everything that was built
	rm -rf .build
