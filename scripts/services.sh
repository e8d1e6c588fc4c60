#!/usr/bin/env bash
# The services of the live tests, for as long as one works on them: afterwards, plain `cargo test` finds them.
#
#   scripts/services.sh up [buildkit] [docker] [gha]   start them (and a registry); without names: buildkit
#   eval "$(scripts/services.sh env)"                  the RBAKE_TEST_* variables: programs, and what runs
#   scripts/services.sh down                           stop them and remove what they kept
#
# Each checkout has its own, under ${RBAKE_SERVICES_DIR:-$TMPDIR/rbake-services-…}.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

SERVICES_DIR=${RBAKE_SERVICES_DIR:-${TMPDIR:-/tmp}/rbake-services-$(id -u)-$(sha256_of_text "$REPO_DIR" | cut -c1-8)}

up() {
  local name
  require_root "a daemon"
  [ $# -gt 0 ] || set -- buildkit
  for name in "$@"; do
    case $name in
      registry | buildkit | docker | gha) ;;
      *) die "there is no service \`$name\` here" "the services are: registry buildkit docker gha" ;;
    esac
  done
  # What an earlier run left must not be in the way.
  stack_down
  mkdir -p "$SERVICES_DIR"
  # What came up before something failed goes down again.
  trap stack_down EXIT
  stack_up "$@"
  trap - EXIT
  say "running; \`eval \"\$(scripts/services.sh env)\"\` for their variables, \`scripts/services.sh down\` to stop"
}

case ${1:-} in
  up) up "${@:2}" ;;
  env)
    peers_env
    stack_env
    ;;
  down) stack_down ;;
  *)
    sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
