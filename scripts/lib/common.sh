# shellcheck shell=bash
# What every script here shares: messages, the cache directory, locks, temporary folders.
# Sourced, never run. Has nothing that is specific to one peer.

# The folder that holds this checkout's scripts, and the checkout itself.
SCRIPTS_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # read by the scripts that source this
REPO_DIR=$(cd -- "$SCRIPTS_DIR/.." && pwd)

# Slow builds are kept outside the checkout, so that a clean clone does not repeat them.
PEERS_DIR=${RBAKE_PEERS_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set RBAKE_PEERS_DIR}/.cache}/rbake/peers}

say() { printf '%s\n' "$*" >&2; }
step() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  = help: %s\n' "$line" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# need PROGRAM WHY [HELP]: ends the script if PROGRAM is not in PATH.
need() { have "$1" || die "\`$1\` is not in PATH; it is needed $2" "${3:-install \`$1\` and run this again}"; }

is_root() { [ "$(id -u)" = 0 ]; }

# as_root COMMAND…: runs COMMAND as root, with sudo if we are not root.
as_root() {
  if is_root; then
    "$@"
  elif have sudo; then
    sudo -n -- "$@"
  else
    die "\`$1\` needs root, and there is no sudo" "run this as root"
  fi
}

# require_root WHAT: daemons run as root, and so do the tests that start and look into them.
require_root() {
  # shellcheck disable=SC2016  # $PATH is for the user's shell
  is_root || die "$1 needs root" 'run it as root, or: sudo -E env "PATH=$PATH" '"${0}"
}

# quietly LOG COMMAND…: output goes to LOG; on failure its last lines are shown.
quietly() {
  local log=$1 status=0
  shift
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" != 0 ]; then
    say "--- the last lines of $log:"
    tail -n 30 -- "$log" >&2 || true
    say "---"
  fi
  return "$status"
}

# with_lock NAME COMMAND…: runs COMMAND, one at a time per NAME on this machine. The lock is on an open file: it is released
# when the last process that holds it ends, so a process that dies cannot leave it behind.
with_lock() {
  local name=$1 status fd
  shift
  mkdir -p "$PEERS_DIR/locks"
  exec {fd}>"$PEERS_DIR/locks/$name.lock"
  if ! flock -n "$fd"; then
    say "    $name: waiting for another run"
    flock "$fd"
  fi
  # Not `"$@" || status=$?`: that would switch `set -e` off in all of the command.
  "$@"
  status=$?
  exec {fd}>&-
  return "$status"
}

# sha256_of_text TEXT
sha256_of_text() { printf '%s' "$1" | sha256sum | cut -d' ' -f1; }
