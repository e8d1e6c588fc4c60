# shellcheck shell=bash
# Background work of a script, each piece in its own process group. Sourced after common.sh.
#
# A script sets BESIDE_DIR, where the logs go, and calls `beside_stop` when it ends, however it ends.

BESIDE_DIR=${BESIDE_DIR:-}
declare -A BESIDE=()

beside_log() { printf '%s/%s.log' "${BESIDE_DIR:?BESIDE_DIR is not set}" "$1"; }

# beside NAME NICENESS COMMAND…: starts COMMAND in the background. Its output goes to `beside_log NAME`.
beside() {
  local name=$1 niceness=$2
  shift 2
  # A lock that we hold is an open file: a process that we leave behind if we are killed must not keep it.
  (without_our_files exec setsid -- nice -n "$niceness" "$@" </dev/null >"$(beside_log "$name")" 2>&1) &
  BESIDE[$name]=$!
}

beside_running() { [ -n "${BESIDE[$1]:-}" ] && process_start_time "${BESIDE[$1]}" >/dev/null; }

# joined NAME: waits for the end of what `beside` started; prints its output if it failed.
joined() {
  local status=0
  [ -n "${BESIDE[$1]:-}" ] || return 1
  wait "${BESIDE[$1]}" || status=$?
  unset "BESIDE[$1]"
  if [ "$status" != 0 ]; then sed 's/^/    /' "$(beside_log "$1")"; fi
  return "$status"
}

beside_stop() {
  local child
  for child in "${BESIDE[@]}"; do
    kill -TERM -- "-$child" 2>/dev/null || true
    sleep 0.5
    kill -KILL -- "-$child" 2>/dev/null || true
  done
  BESIDE=()
}
