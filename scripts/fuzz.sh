#!/usr/bin/env bash
# Fuzzes the parsers of untrusted text, each target for a fixed time, and reports the results.
#
#   scripts/fuzz.sh                       every target for 60 minutes, one after the other
#   scripts/fuzz.sh --minutes 5 hcl json  two of them, 5 minutes each
#   scripts/fuzz.sh --jobs 2              two at a time
#   scripts/fuzz.sh --list                the targets
#
# Inputs that reach new code are kept in fuzz/corpus/, inputs that fail in fuzz/artifacts/; git ignores both. Add a failing
# input as a test next to its fix. Needs a nightly compiler from rustup; cargo-fuzz is built into the cache.
# Exits with 0 only if no target found anything.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

CARGO_FUZZ_VERSION=0.13.2
MINUTES=60
JOBS=1
TARGETS=()
FUZZ_DIR=$REPO_DIR/fuzz

all_targets() { sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' "$FUZZ_DIR/Cargo.toml"; }

while [ $# -gt 0 ]; do
  case $1 in
    --minutes | --jobs)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "\`$1\` needs a number"
      if [ "$1" = --jobs ]; then JOBS=$2; else MINUTES=$2; fi
      shift
      ;;
    --list)
      all_targets
      exit 0
      ;;
    -h | --help)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) die "unknown option \`$1\`" "see scripts/fuzz.sh --help" ;;
    *)
      [ -e "$FUZZ_DIR/targets/$1.rs" ] || die "there is no fuzz target \`$1\`" "the targets are: $(all_targets | paste -sd ' ')"
      TARGETS+=("$1")
      ;;
  esac
  shift
done
[ ${#TARGETS[@]} -gt 0 ] || mapfile -t TARGETS < <(all_targets)

cargo_fuzz_ready() {
  local root=$PEERS_DIR/programs/cargo-fuzz-$CARGO_FUZZ_VERSION
  if [ ! -x "$root/bin/cargo-fuzz" ]; then
    step "building cargo-fuzz $CARGO_FUZZ_VERSION"
    mkdir -p "$PEERS_DIR/logs"
    quietly "$PEERS_DIR/logs/cargo-fuzz.log" cargo install --locked --version "$CARGO_FUZZ_VERSION" --root "$root" cargo-fuzz ||
      die "could not build cargo-fuzz" "see $PEERS_DIR/logs/cargo-fuzz.log"
  fi
  PATH=$root/bin:$PATH
}

# seeds TARGET: lets the search begin with the definitions of the parity cases.
seeds() {
  local target=$1 corpus=$FUZZ_DIR/corpus/$1 suffixes file suffix name
  mkdir -p "$corpus"
  case $target in
    hcl) suffixes=hcl ;;
    json) suffixes=json ;;
    compose) suffixes="yaml yml" ;;
    overrides)
      # One seed for all `--set` of a case.
      for file in "$REPO_DIR"/tests/parity/cases/*/runs; do
        name=$(basename -- "$(dirname -- "$file")")
        { grep -o -e '--set [^ ]*' -- "$file" || true; } | sed 's/^--set //' >"$corpus/$name"
      done
      return
      ;;
    *) return ;;
  esac
  for suffix in $suffixes; do
    while read -r file; do
      name=${file#"$REPO_DIR"/tests/parity/cases/}
      cp -- "$file" "$corpus/${name//\//-}"
    done < <(find "$REPO_DIR/tests/parity/cases" -name "*.$suffix" ! -name expected.json ! -name differences.json)
  done
}

# fuzz TARGET: the flags limit an input to 10 s, 2 GiB and 16 KiB.
fuzz() {
  local target=$1 log=$FUZZ_DIR/artifacts/$1.log dictionary=$FUZZ_DIR/dictionaries/$1.dict status=0
  mkdir -p "$FUZZ_DIR/artifacts/$target"
  seeds "$target"
  local flags=(-max_total_time=$((MINUTES * 60)) -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1)
  if [ -e "$dictionary" ]; then flags+=("-dict=$dictionary"); fi
  # Without a sanitizer: rbake has no unsafe code, and fuzzing is several times as fast.
  (cd "$REPO_DIR" && cargo +nightly fuzz run -s none "$target" -- "${flags[@]}") >"$log" 2>&1 || status=$?
  local runs
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
  if [ "$status" = 0 ]; then
    say "    $target: ${runs:-?} inputs in $MINUTES min, nothing found"
  else
    say "    $target: FAILED; see $log"
    { grep -m 1 -e 'panicked at' -A 2 -- "$log" || tail -n 5 -- "$log"; } >&2
  fi
  return "$status"
}

need cargo "to build the targets" "install Rust: https://rustup.rs"
have g++ || apt_install g++
cargo +nightly --version >/dev/null 2>&1 || {
  need rustup "for a nightly compiler"
  step "rust: adding nightly"
  rustup toolchain install nightly --profile minimal
}
cargo_fuzz_ready
step "building the targets"
fuzz_lock
(cd "$REPO_DIR" && cargo +nightly fuzz build -s none)
step "fuzzing: ${TARGETS[*]}, $MINUTES min each"
FAILED=0
running=0
for target in "${TARGETS[@]}"; do
  if [ "$running" -ge "$JOBS" ]; then
    wait -n || FAILED=$((FAILED + 1))
    running=$((running - 1))
  fi
  fuzz "$target" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || FAILED=$((FAILED + 1))
  running=$((running - 1))
done
say "${#TARGETS[@]} targets, $FAILED failed"
[ "$FAILED" = 0 ]
