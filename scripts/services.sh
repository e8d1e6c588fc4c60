#!/usr/bin/env bash
# Starts the services of the live tests and keeps them running, so that plain `cargo test` can use them.
#
#   scripts/services.sh up [buildkit] [docker] [gha] [kubernetes]   start them (and a registry); without names: buildkit
#   eval "$(scripts/services.sh env)"      set the RBAKE_TEST_* variables of programs and running services
#   scripts/services.sh down               stop them and remove their data
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
      registry | buildkit | docker | gha | kubernetes) ;;
      *) die "unknown service \`$name\`" "the services are: registry buildkit docker gha kubernetes" ;;
    esac
  done
  # Remove what an earlier run left.
  stack_down
  mkdir -p "$SERVICES_DIR"
  # If a service does not start, stop those that did.
  trap stack_down EXIT
  stack_up "$@"
  trap - EXIT
  say "running; \`eval \"\$(scripts/services.sh env)\"\` sets their variables, \`scripts/services.sh down\` stops them"
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
