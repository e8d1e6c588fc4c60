#!/usr/bin/env bash
# Installs what the tests need, runs them all, and stops everything that it started.
#
#   scripts/test.sh                  everything: format, lints, documentation, scripts, tests with live peers, the release's archive
#   scripts/test.sh --filter TEXT    only the tests whose name contains TEXT (with live peers)
#   scripts/test.sh --no-live        without peers; live tests are skipped, and counted
#   scripts/test.sh --tests          only the tests
#   scripts/test.sh --kubernetes     only the tests with a real Kubernetes, which other runs leave out: the first run builds it, 15 minutes
#   scripts/test.sh --long           all of the campaigns of tests/campaigns/, not a twentieth; up to three hours
#
# The last line gives the totals. Exits with 0 only if every step passed and, with peers, no test was skipped.
# Tests find programs and services through variables RBAKE_TEST_… (scripts/peers.sh env, scripts/services.sh env).
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

LIVE=1
CHECKS=1
FILTER=
TEST_LIMIT=${RBAKE_TEST_LIMIT:-3600}
TEST_ARGS=()
KUBERNETES=

while [ $# -gt 0 ]; do
  case $1 in
    --no-live) LIVE= ;;
    --tests) CHECKS= ;;
    --long)
      export RBAKE_TEST_LONG=1
      FILTER=campaigns::
      CHECKS=
      TEST_LIMIT=${RBAKE_TEST_LIMIT:-10800}
      # Show the counts that the campaigns print, although the tests pass.
      TEST_ARGS+=(--nocapture)
      ;;
    --kubernetes)
      KUBERNETES=1
      FILTER=live::kubernetes
      CHECKS=
      ;;
    --filter)
      [ $# -ge 2 ] || die "\`--filter\` needs a text"
      FILTER=$2
      CHECKS=
      shift
      ;;
    -h | --help)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) die "unknown option \`$1\`" "see scripts/test.sh --help" ;;
  esac
  shift
done

cd -- "$REPO_DIR"
if [ -n "$LIVE" ]; then require_root "a test run with live peers (without: --no-live)"; fi
run_dirs_clear
RUN_DIR=$(run_dir_make)
SERVICES_DIR=$RUN_DIR/s
# Read by process.sh: services stop even if this script is killed.
# shellcheck disable=SC2034
SERVICES_DIE_WITH_US=1
FAILED=()
CHILD=
# Read by beside.sh.
# shellcheck disable=SC2034
BESIDE_DIR=$RUN_DIR

# watched COMMAND…: runs COMMAND in its own process group, so that a signal to this script stops all of it.
watched() {
  local status=0
  setsid -- "$@" </dev/null &
  CHILD=$!
  wait "$CHILD" || status=$?
  CHILD=
  return "$status"
}

# check NAME COMMAND…: runs COMMAND; failures are reported at the end, so that one run shows all of them.
check() {
  local name=$1 started=$SECONDS
  shift
  step "$name"
  if watched "$@"; then
    say "    $name: passed after $((SECONDS - started)) s"
  else
    say "    $name: FAILED"
    FAILED+=("$name")
  fi
}

finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [ -n "$CHILD" ]; then
    kill -TERM -- "-$CHILD" 2>/dev/null || true
    sleep 0.5
    kill -KILL -- "-$CHILD" 2>/dev/null || true
  fi
  beside_stop
  stack_down || true
  kill_below "$RUN_DIR"
  remove_service_tree "$RUN_DIR" || true
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

prepare() {
  step "preparing"
  have curl || apt_install curl ca-certificates
  have jq || apt_install jq
  rust_ready clippy fmt
  if [ -n "$CHECKS" ]; then
    rust_musl_ready
    have shellcheck || apt_install shellcheck
    cargo_shear_ready
    # libFuzzer is C++.
    have g++ || apt_install g++
  fi
}

checks() {
  check "format" cargo fmt --all --check
  check "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
  # The examples need a feature that the program is built without.
  check "lints of examples" cargo clippy --all-features --examples --quiet -- -D warnings
  check "dependencies" "$CARGO_SHEAR" --locked
  # Private items are documented too, so links to them are valid.
  check "documentation" env RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --document-private-items --quiet
  # They are not part of the workspace, so no other step compiles them.
  fuzz_lock
  check "fuzz targets" cargo check --quiet --manifest-path fuzz/Cargo.toml --target-dir target
  # One of the two targets is enough to find what only Linux has; scripts/cross.sh checks both.
  check "macOS" "$SCRIPTS_DIR/cross.sh" aarch64-apple-darwin
  # Each file by itself; sources are followed from the top of the checkout.
  check "scripts" shellcheck -x scripts/*.sh scripts/lib/*.sh scripts/stand-ins/*.sh scripts/kubernetes/*.sh scripts/kubernetes/same-localhost .ci/run
}

# Installs every program that a test may need; for what is there already, only checksums are compared. A first run mostly waits
# for downloads, so it runs in parallel with the checks.
peers_begin() {
  local images=(busybox frontend frontend_oldest scanner)
  if ! docker_hub_reachable; then images+=(python postgres redis); fi
  # shellcheck disable=SC2016  # the inner shell expands these
  beside peers 0 bash -c '"$0" install && "$0" images "$@"' "$SCRIPTS_DIR/peers.sh" "${images[@]}"
}

live_up() {
  step "programs and images that the tests use (progress: $RUN_DIR/peers.log)"
  joined peers
  step "starting services in $SERVICES_DIR"
  mkdir -p "$SERVICES_DIR"
  if [ -n "$KUBERNETES" ]; then
    stack_up buildkit kubernetes
  else
    stack_up buildkit docker gha
  fi
  eval "$(peers_env)"
  eval "$(stack_env)"
}

# tests: runs the tests; their output goes to the terminal and to a file, from which the totals come.
tests() {
  local log=$RUN_DIR/tests.log command
  # Tests make their temporary folders in ours, so that we find what they leave.
  mkdir -p "$RUN_DIR/t"
  # Some tests run programs as another user, who must be able to reach the files below.
  chmod 711 "$RUN_DIR" "$RUN_DIR/t"
  export TMPDIR=$RUN_DIR/t
  # --no-fail-fast: one failing binary does not hide the others.
  printf -v command '%q ' timeout --signal=TERM --kill-after=20 "$TEST_LIMIT" \
    cargo test --workspace --no-fail-fast -- "${TEST_ARGS[@]}" ${FILTER:+"$FILTER"}
  check "tests" bash -c "set -o pipefail; $command 2>&1 | tee $(printf %q "$log")"
}

# A process that runs below the tests' folder was started by a test, which should have stopped it.
no_stragglers() {
  local left end=$((SECONDS + 5))
  left=$(processes_below "$RUN_DIR/t" cwd)
  while [ -n "$left" ] && [ "$SECONDS" -lt "$end" ]; do
    sleep 0.5
    left=$(processes_below "$RUN_DIR/t" cwd)
  done
  [ -n "$left" ] || return 0
  say "    processes that tests left running; killing them:"
  say "$left"
  FAILED+=("processes left running")
  kill_below "$RUN_DIR/t" cwd
}

# No client may make a daemon that others share end: the processes that were started must still run.
daemons_survived() {
  local name
  while read -r name; do
    [ -n "$name" ] || continue
    service_show_log "$name"
    FAILED+=("\`$name\` ended during the tests")
  done < <(services_ended)
}

# archive_begin: makes the archive of a release with CPU time that the tests do not use: much of the work has one thread.
archive_begin() {
  beside archive 19 "$SCRIPTS_DIR/release.sh" archive "linux-$(oci_architecture)"
}

# release.sh has checked that the program runs, is static and not too large.
release_archive() {
  joined archive || return 1
  tail -n 1 -- "$(beside_log archive)" >&2
}

totals() {
  local passed=0 failed=0 skipped=0 line
  if [ -e "$RUN_DIR/tests.log" ]; then
    while read -r line; do
      [[ $line =~ ([0-9]+)\ passed\;\ ([0-9]+)\ failed\;\ ([0-9]+)\ ignored ]] || continue
      passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + BASH_REMATCH[3]))
    done < <(grep '^test result: ' "$RUN_DIR/tests.log")
  fi
  if [ "$((passed + failed))" = 0 ]; then FAILED+=("no test ran"); fi
  if [ -n "$LIVE" ] && [ "$skipped" != 0 ]; then FAILED+=("$skipped tests were skipped; with peers, none may be"); fi
  TOTALS="$passed passed, $failed failed, $skipped skipped"
}

main() {
  prepare
  # Tests that need peers are ignored unless asked for.
  if [ -n "$LIVE" ]; then
    peers_begin
    TEST_ARGS+=(--include-ignored)
    # The fake cluster of the other tests is held against a real one there.
    if [ -z "$KUBERNETES" ]; then TEST_ARGS+=(--skip live::kubernetes::real); fi
  fi
  if [ -n "$CHECKS" ]; then checks; fi
  if [ -n "$LIVE" ]; then live_up; fi
  if [ -n "$CHECKS" ]; then archive_begin; fi
  tests
  if [ -n "$LIVE" ]; then
    daemons_survived
    step "stopping services"
    stack_down
  fi
  no_stragglers
  if [ -n "$CHECKS" ]; then
    step "archive of the release"
    release_archive || FAILED+=("archive of the release")
  fi
  totals
  local name
  for name in "${FAILED[@]}"; do say "FAILED: $name"; done
  if [ -n "$LIVE" ] && [ -z "$KUBERNETES" ]; then say "left out: tests with a real Kubernetes (scripts/test.sh --kubernetes)"; fi
  printf '%s\n' "$TOTALS"
  [ ${#FAILED[@]} = 0 ]
}

main
