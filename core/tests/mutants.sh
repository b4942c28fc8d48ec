#!/usr/bin/env bash
# Breaks the laws one by one: each patch in core/tests/mutants is a plausible mistake, and the simulation must turn red
# for each of them, naming the law. A mistake in what only a real etcd can show names the test that must fail, in a line
# `Caught by: --test TARGET NAME` before the patch; one that begins with `v2: ` is tried on the seeds of v2 alone, all
# others on those of v3. `make mutants` calls this; MUTANTS="03 17" tries some,
# MUTANT_SEEDS=n gives each n seeds to be caught (those that are caught stop at the first).
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
seeds=${MUTANT_SEEDS:-20000}
only=${MUTANTS:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutants CARGO_NET_OFFLINE=${CARGO_NET_OFFLINE:-true}

if [ -z "${ETCD_BIN:-}" ]; then
    etcd=$(.ci/etcd) || exit 1
    eval "export $(echo "$etcd" | tr '\n' ' ')"
fi

# What is tracked, as it is in the working tree; with new times, or cargo would take the last mutant's build for it.
git ls-files -z | while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done |
    tar --null -T - -cf - | tar -xmf - -C "$work" || exit 1

# Leaves the verdict in $law and $seed: what the simulation says of the tree in $work. Arguments choose its tests.
judge() {
    local log=$work/log
    (cd "$work" && SEEDS=$seeds MOST=1 cargo simulation --quiet -- --nocapture --skip fakes "$@") >"$log" 2>&1
    local code=$?
    law='' seed=''
    if grep -q '^error: could not compile' "$log"; then
        law='does not build'
        grep -E '^error' -A 6 "$log" | head -20 >&2
    elif [ "$code" -ne 0 ]; then
        read -r seed law < <(sed -nE 's/.*seed ([0-9]+) breaks law ([0-9]+).*/\1 \2/p' "$log" | head -1)
        law=${law:-unnamed}
    fi
}

# The same, for a test that is named: its arguments for cargo. It must have run.
judge_by() {
    local log=$work/log
    (cd "$work" && cargo test --quiet --workspace --locked "$@" -- --exact) >"$log" 2>&1
    local code=$?
    law='' seed='-'
    if grep -q '^error: could not compile' "$log"; then
        law='does not build'
        grep -E '^error' -A 6 "$log" | head -20 >&2
    elif ! grep -qE '^running 1 test' "$log"; then
        law='no such test'
    elif [ "$code" -ne 0 ]; then
        law='1 test'
    fi
}

passed=0 failed=0 rows=() started=$SECONDS
row() { rows+=("$(printf '%-40s %-16s %8s %6s s  %s' "$@")"); printf '%s\n' "${rows[-1]}"; }

from=$SECONDS
judge
if [ -n "$law" ]; then
    echo "the tree itself is red, before any mistake was made: law $law, seed $seed" >&2
    tail -30 "$work/log" >&2
    echo "0 passed, 1 failed"
    exit 1
fi
row "(none)" "-" "-" "$((SECONDS - from))" "green, as it should be"

for patch in "$root"/core/tests/mutants/*.patch; do
    name=$(basename "$patch" .patch)
    read -ra test < <(sed -nE '/^--- /q; s/^Caught by: //p' "$patch")
    if [ -n "$only" ] && [[ " $only " != *" ${name%%-*} "* ]]; then continue; fi
    from=$SECONDS law=''
    if [ "${#test[@]}" -gt 0 ]; then judge_by "${test[@]}"; fi
    if [ -n "$law" ]; then
        law="$law, unbroken" seed='-' verdict=FAILED
    elif ! (cd "$work" && patch -p1 --quiet --forward --fuzz=0 <"$patch" >"$work/log" 2>&1); then
        cat "$work/log" >&2
        law='does not apply' seed='-' verdict=FAILED
    else
        if [ "${#test[@]}" -gt 0 ]; then
            judge_by "${test[@]}"
        elif head -1 "$patch" | grep -q '^v2: '; then
            judge v2
        else
            judge --skip v2
        fi
        case $law in
            '') law='none' seed='-' verdict='SURVIVED' ;;
            [0-9]*) verdict=caught ;;
            *) verdict=FAILED ;;
        esac
    fi
    if [ "$verdict" = caught ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    row "$name" "$law" "${seed:--}" "$((SECONDS - from))" "$verdict"
    # The files as they were, with a new time, so that cargo builds them again.
    sed -n 's/^+++ b\///p' "$patch" | while IFS= read -r file; do
        cp "$root/$file" "$work/$file"
        touch "$work/$file"
        rm -f "$work/$file.orig" "$work/$file.rej"
    done
done

printf '\n%-40s %-16s %8s %8s\n' mutant law seed took
printf '%s\n' "${rows[@]}"
printf '\n%d s in all\n%d passed, %d failed\n' "$((SECONDS - started))" "$passed" "$failed"
[ "$failed" -eq 0 ]
