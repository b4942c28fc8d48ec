# The doors of this house. `make help` says what is behind each.
.PHONY: help demo check test test-bare faults hosts mutants exhaustive bench figures crowds servers etcd lib node wheel examples install uninstall dist clean
SHELL := /bin/bash
# Packages that cargo builds in one run share their features, so nothing is built twice: .ci/test names the addon, too.
PACKAGES = $(or $(EL_PACKAGES),-p etcd-leader-ffi)
# Where `make install` puts things. DESTDIR is for those who make packages: it stands before every path, and in no file.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
DOCDIR ?= $(PREFIX)/share/doc/etcd_leader
DESTDIR ?=
STRICT = -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude
LINK = -Ltarget/release -letcd_leader -Wl,-rpath,'$$ORIGIN'
# What the library is made of: what is not newer need not be built again, and whoever installs may have no Rust.
SOURCES := Cargo.toml Cargo.lock core/Cargo.toml ffi/Cargo.toml ffi/build.rs $(shell find core/src ffi/src -name '*.rs')
LEAD_SOURCES := $(wildcard examples/c/lead.c examples/c/lead/*.c)
LEAD := $(if $(LEAD_SOURCES),target/release/lead)
EXAMPLES := $(LEAD) $(patsubst examples/c/%.c,target/release/%,$(filter-out examples/c/lead.c,$(wildcard examples/c/*.c))) \
	$(patsubst examples/cpp/%.cc,target/release/%-cpp,$(wildcard examples/cpp/*.cc))
# rustup's Rust goes before Debian's, also where nothing has put it on PATH.
RUSTUP := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin
ifneq ($(wildcard $(RUSTUP)/cargo),)
export PATH := $(RUSTUP):$(PATH)
endif
# Which of etcd's APIs the demo uses.
API ?= v3
ifneq ($(filter demo,$(MAKECMDGOALS)),)
ifeq ($(filter v2 v3,$(API)),)
$(error API is "$(API)": make demo knows API=v2 and API=v3)
endif
endif

help: ## what can be made
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

DEMO_PACKAGES = $(PACKAGES) -p etcd-leader-node -p etcd-leader-demo
demo: ## candidates in C, Node.js, Python and a shell on a real etcd, half a minute: who leads, through crashes and a freeze (API=v2: etcd's older API)
	@.ci/tools demo
	@mkdir -p target/demo/node_modules && ln -sfn ../../../node target/demo/node_modules/etcd-leader
	@.ci/whole "bringing etcd" .ci/etcd >target/demo/etcd
	@. target/demo/etcd && found=$$("$$ETCD_BIN" --version | sed -n 's/^etcd Version: //p'); [[ $(API) = v3 || $$found =~ ^3\.[0-5]\. ]] || \
		{ echo "API v2 ended with etcd 3.5, and $$ETCD_BIN is $$found: set ETCD_BIN and ETCDCTL_BIN to an older one" >&2; exit 2; }
	@$(MAKE) --silent --no-print-directory PACKAGES="$(DEMO_PACKAGES)" target/release/campaign target/release/lead
	@node node/build.js $(DEMO_PACKAGES)
	@set -a && . target/demo/etcd && ETCD_LEADER_LIBRARY=$(CURDIR)/target/release/libetcd_leader.so \
		NODE_PATH=$(CURDIR)/target/demo/node_modules && exec target/release/demo $(API)

check: ## the quick tests, two minutes after a small change: lint, units, layering, the machines' tables, a short simulation
	@.ci/test check

test: ## all tests, with a budget of time for each part, on Debian's etcd and on 3.6 (PARTS="c units" runs some; ETCD=3.5: the v3 suites there)
	@.ci/tools test
	@.ci/test

test-bare: ## make demo and make test on a bare Debian, bookworm and trixie (an hour; SUITES="bookworm" DOORS="demo" choose)
	@.ci/bare

faults: lib node ## never two leaders: every fault, on both APIs, under leaders in C, Node.js and Python; writes core/docs/faults.md (a quarter of an hour)
	@.ci/tools faults
	@FAULTS_REPORT=$(CURDIR)/core/docs/faults.md \
		.ci/with-etcd "" cargo test --workspace --locked --test faults -- --include-ignored --test-threads=6

hosts: lib node examples ## the library in each host: event loops, runtimes, servers that fork; writes core/docs/hosts.md (three minutes)
	@.ci/tools hosts
	@.ci/hosts >target/hosts.md && cp target/hosts.md core/docs/hosts.md

mutants: etcd ## breaks the laws one by one; each time the simulation must notice
	@.ci/tools lib
	@core/tests/mutants.sh

exhaustive: ## two candidates in every order of what may happen to them, as deep as ten minutes allow (MINUTES=60 FAULTS=1 ROOT=line)
	@.ci/tools lib
	@cargo exhaustive --quiet -- --ignored --nocapture

# A quick one only shows that it works: it takes what other tests have built, and leaves the report as it is.
BENCH = $(if $(QUICK),,--release)
bench: lib node target/release/cost ## beside other libraries, in one run; writes core/docs/bench.md (under half an hour; QUICK=1 only shows that it works; ETCD=3.6)
	@.ci/tools bench
	@.ci/peers
	@.ci/bench target/release/cost
	@$(if $(QUICK),,BENCH_REPORT=$(CURDIR)/core/docs) .ci/with-etcd "$(ETCD)" cargo test --quiet $(BENCH) --locked -p etcd-leader --test figures -- --ignored --nocapture --exact peers::bench

figures: target/release/cost ## what it costs, beside what etcd alone costs in the same run; 1,000 candidates of one key, 10,000 and 100,000 elections, 1,000 restarts (ten minutes)
	@.ci/bench target/release/cost
	@.ci/with-etcd "$(ETCD)" cargo test --quiet --release --locked -p etcd-leader --test figures -- \
		--ignored --nocapture --test-threads=1 --skip peers::

crowds: ## how long a crowd with passwords takes, beside etcdctl elect, and over restarts of etcd (six minutes; ETCD=3.6: two)
	@.ci/tools lib
	@.ci/with-etcd "$(ETCD)" cargo test --quiet --locked -p etcd-leader --test conformance -- --ignored --exact crowds::figures --nocapture

servers: ## one of three servers is killed, frozen or cut off, three hundred times: whether the lead is kept (a quarter of an hour; ETCD=3.6)
	@.ci/tools faults
	@.ci/with-etcd "$(ETCD)" cargo test --quiet --locked -p etcd-leader --test conformance -- --ignored --exact one_of_three::figures --nocapture

etcd: ## finds etcd, or brings one into .cache (ETCD=3.6: builds that one)
	@.ci/etcd $(ETCD)

lib: ## the shared and the static library, in target/release
	@.ci/tools lib
	@.ci/build $(PACKAGES)
	@ln -sf libetcd_leader.so target/release/libetcd_leader.so.1
	@cp LICENSE ffi/THIRD-PARTY.txt target/release/
	@mkdir -p target/release/install && touch target/release/install/built
	@$(MAKE) --silent --no-print-directory target/release/install/libetcd_leader.a

target/release/install/built: $(SOURCES)
	@$(MAKE) --silent --no-print-directory lib

# Cargo writes it only if something has changed; only then is more to be done.
target/release/libetcd_leader.a: target/release/install/built ;

target/release/install/libetcd_leader.a: target/release/libetcd_leader.a .ci/archive
	@.ci/archive $< $@

NODE_PACKAGES = $(or $(EL_PACKAGES),-p etcd-leader-node)
node: ## the addon for Node.js, in node (npm pack there makes a package of it)
	@.ci/tools node
	@.ci/build $(NODE_PACKAGES)
	@node node/build.js $(NODE_PACKAGES)

wheel: lib ## the package for Python, in target/python: needs neither Rust nor a compiler where it is installed
	@.ci/tools wheel
	@python3 examples/python/build_wheel.py

examples: $(EXAMPLES) ## the examples in C and C++, in target/release

target/release/%: examples/c/%.c include/etcd_leader.h lib
	@$(CC) -std=c99 -D_GNU_SOURCE $(STRICT) $< $(LINK) -o $@

target/release/%-cpp: examples/cpp/%.cc include/etcd_leader.hpp include/etcd_leader.h lib
	@.ci/tools examples
	@$(CXX) -std=c++17 $(STRICT) $< $(LINK) -pthread -o $@

# With the library inside, so that it needs nothing beside it, wherever it is copied.
target/release/lead: $(LEAD_SOURCES) $(wildcard examples/c/lead/*.h) include/etcd_leader.h target/release/install/libetcd_leader.a
	@$(CC) -std=c99 -D_GNU_SOURCE $(STRICT) $(LEAD_SOURCES) target/release/install/libetcd_leader.a $$(cat target/release/install/libraries) \
		-s -Wl,-z,relro,-z,now -o $@

target/release/cost: ffi/tests/c/cost.c ffi/tests/c/test.h include/etcd_leader.h lib
	@$(CC) -std=gnu11 $(STRICT) $< $(LINK) -o $@

install uninstall: export PREFIX := $(PREFIX)
install uninstall: export LIBDIR := $(LIBDIR)
install uninstall: export INCLUDEDIR := $(INCLUDEDIR)
install uninstall: export BINDIR := $(BINDIR)
install uninstall: export DOCDIR := $(DOCDIR)
install uninstall: export DESTDIR := $(DESTDIR)

install: target/release/install/libetcd_leader.a $(LEAD) ## copies it all to PREFIX (/usr/local): libraries, headers, pkg-config, CMake, lead
	@.ci/install install

uninstall: ## takes that away again
	@.ci/install uninstall

dist: target/release/install/libetcd_leader.a $(LEAD) ## the installed tree as one file for machines without Rust, in target/dist
	@.ci/dist

clean: ## removes what was built or brought, and the cache
	@rm -rf target .cache node/*.node node/LICENSE node/test/node_modules core/tests/fleet/node_modules core/tests/figures/peers/node_modules
