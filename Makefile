# The doors of this house. `make help` says what is behind each.
.PHONY: help demo test mutants etcd lib clean
SHELL := /bin/bash

help: ## what can be made
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12

demo: etcd lib ## three candidates on a real etcd, about 40 s: who leads, through crashes and a freeze
	@eval "export $$(.ci/etcd | tr '\n' ' ')" && cargo run --quiet --locked -p etcd-leader-ffi --example demo

test: ## all tests, with a budget of time for each part (PARTS="c units" runs some)
	@.ci/test

mutants: etcd ## breaks the laws one by one; each time the simulation must notice
	@core/tests/mutants.sh

etcd: ## finds etcd, or brings one into .cache
	@.ci/etcd

lib: ## the shared and the static library, in target/release
	@.ci/tools cc=gcc
	@cargo build --quiet --release --locked -p etcd-leader-ffi

clean: ## removes what was built, and the cache
	@rm -rf target .cache
