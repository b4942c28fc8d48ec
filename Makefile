# The doors of this house. `make help` says what is behind each.
.PHONY: help demo test mutants figures etcd lib node examples clean
SHELL := /bin/bash
PACKAGES = -p etcd-leader-ffi
STRICT = -O2 -Wall -Wextra -Wpedantic -Werror -Iinclude
LINK = -Ltarget/release -letcd_leader -Wl,-rpath,'$$ORIGIN'
# Which of etcd's APIs the demo uses.
API ?= v3
ifneq ($(filter demo,$(MAKECMDGOALS)),)
ifeq ($(filter v2 v3,$(API)),)
$(error API is "$(API)": make demo knows API=v2 and API=v3)
endif
endif

help: ## what can be made
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: PACKAGES += -p etcd-leader-demo
demo: target/release/campaign node ## three candidates on a real etcd, half a minute: who leads, through crashes and a freeze (API=v2: etcd's older API)
	@mkdir -p target/demo/node_modules && ln -sfn ../../../node target/demo/node_modules/etcd-leader
	@eval "export $$(.ci/etcd | tr '\n' ' ')" && NODE_PATH=$(CURDIR)/target/demo/node_modules target/release/demo $(API)

test: ## all tests, with a budget of time for each part (PARTS="c units" runs some)
	@.ci/test

mutants: etcd ## breaks the laws one by one; each time the simulation must notice
	@core/tests/mutants.sh

figures: ## what it costs, beside what etcd alone costs in the same run (three minutes)
	@eval "export $$(.ci/etcd | tr '\n' ' ')" && cargo test --quiet --release --locked -p etcd-leader --test figures -- --ignored --nocapture

etcd: ## finds etcd, or brings one into .cache
	@.ci/etcd

lib: ## the shared and the static library, in target/release
	@.ci/tools cc=gcc
	@cargo build --quiet --release --locked $(PACKAGES)
	@ln -sf libetcd_leader.so target/release/libetcd_leader.so.1
	@cp LICENSE ffi/THIRD-PARTY.txt target/release/

node: ## the addon for Node.js, in node (npm pack there makes a package of it)
	@.ci/tools node=nodejs npm=npm
	@cd node && npm install --silent

examples: target/release/campaign target/release/epoll target/release/campaign-cpp ## the examples in C and C++, in target/release

target/release/%: examples/c/%.c include/etcd_leader.h lib
	@$(CC) -std=c99 -D_GNU_SOURCE $(STRICT) $< $(LINK) -o $@

target/release/%-cpp: examples/cpp/%.cc include/etcd_leader.h lib
	@.ci/tools c++=g++
	@$(CXX) -std=c++17 $(STRICT) $< $(LINK) -o $@

clean: ## removes what was built, and the cache
	@rm -rf target .cache
