#!/usr/bin/env bash
# Installs the real programs that rbake is tested against, from package registries only (Go module proxy, Debian, PyPI, npm).
#
#   scripts/peers.sh install [NAME…]   install the programs that are missing; without names: all
#   scripts/peers.sh check [NAME…]     print what is installed; exit with 1 if something is missing or damaged
#   scripts/peers.sh env               print `export` lines: PATH, and RBAKE_TEST_* naming each program
#   scripts/peers.sh images [NAME…]    make the stand-ins for images of Docker Hub (busybox frontend frontend_oldest scanner python postgres redis)
#   scripts/peers.sh list              print the names of the programs
#
# Everything is kept in ${RBAKE_PEERS_DIR:-~/.cache/rbake/peers}, outside the checkout, and checked before each use.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

names_or_all() {
  local name
  if [ $# = 0 ]; then set -- "${PEER_NAMES[@]}"; fi
  for name in "$@"; do
    peer_known "$name" || die "unknown program \`$name\`" "the names are: ${PEER_NAMES[*]}"
    printf '%s\n' "$name"
  done
}

main() {
  local command=${1:-} names name bad=0
  shift || true
  case $command in
    install)
      names=$(names_or_all "$@")
      for name in $names; do peer_install "$name"; done
      say "programs ready in $PEERS_DIR/programs: $(tr '\n' ' ' <<<"$names")"
      ;;
    check)
      names=$(names_or_all "$@")
      for name in $names; do
        if peer_ready "$name"; then
          printf '%-14s ready    %s\n' "$name" "$(peer_dir "$name")/bin"
        else
          printf '%-14s missing\n' "$name"
          bad=1
        fi
      done
      return "$bad"
      ;;
    env) peers_env ;;
    images)
      [ $# -gt 0 ] || set -- "${STAND_IN_NAMES[@]}"
      for name in "$@"; do
        [[ " ${STAND_IN_NAMES[*]} " == *" $name "* ]] || die "unknown stand-in \`$name\`" "the names are: ${STAND_IN_NAMES[*]}"
        stand_in_make "$name"
      done
      ;;
    list) printf '%s\n' "${PEER_NAMES[@]}" ;;
    help | -h | --help) usage ;;
    *)
      usage >&2
      return 2
      ;;
  esac
}

main "$@"
