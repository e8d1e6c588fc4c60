# shellcheck shell=bash
# Starts and stops long-running processes, identified by PID and start time. Sourced after common.sh.
#
# Each has a folder SERVICES_DIR/NAME with `pid`, `log`, and its data. If a script sets SERVICES_DIE_WITH_US=1, the
# processes that it starts get SIGTERM when the script ends, even if it is killed.

SERVICES_DIR=${SERVICES_DIR:-}
SERVICES_DIE_WITH_US=${SERVICES_DIE_WITH_US:-}

service_dir() { printf '%s/%s' "${SERVICES_DIR:?SERVICES_DIR is not set}" "$1"; }

# The start time of a process, in clock ticks since boot: together with the PID it identifies a process.
process_start_time() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # The second field, the name, may hold spaces and parentheses.
  read -r -a fields <<<"${stat##*) }"
  # A zombie has ended, but its parent has not waited for it yet.
  [ "${fields[0]}" != Z ] || return 1
  printf '%s' "${fields[19]}"
}

# service_pid NAME: prints the PID, if the service runs.
service_pid() {
  local pid started file
  file=$(service_dir "$1")/pid
  [ -s "$file" ] || return 1
  read -r pid started <"$file" || return 1
  [ -n "$started" ] && [ "$(process_start_time "$pid")" = "$started" ] || return 1
  printf '%s' "$pid"
}

service_running() { service_pid "$1" >/dev/null; }

# without_our_files COMMAND…: in a subshell, runs COMMAND with only its standard streams open. A lock that we hold is an
# open file: a process that outlives us must not keep it.
without_our_files() {
  local fd
  for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then eval "exec $fd>&-" 2>/dev/null || true; fi
  done
  "$@"
}

# service_start NAME COMMAND…: in the background, in a session of its own, without our open files.
service_start() {
  local name=$1 folder pid
  shift
  folder=$(service_dir "$name")
  mkdir -p "$folder"
  if service_running "$name"; then die "\`$name\` is already running (process $(service_pid "$name"))"; fi
  local wrap=(setsid --)
  if [ -n "$SERVICES_DIE_WITH_US" ]; then wrap+=(setpriv --pdeathsig TERM --); fi
  (
    without_our_files exec "${wrap[@]}" "$@" >"$folder/log" 2>&1 </dev/null
  ) &
  pid=$!
  printf '%s %s\n' "$pid" "$(process_start_time "$pid")" >"$folder/pid"
}

# service_await NAME SECONDS COMMAND…: waits until COMMAND succeeds; ends the script if the service ends or is not ready in time.
service_await() {
  local name=$1 limit=$2 end
  shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if ! service_running "$name"; then
      service_show_log "$name"
      die "\`$name\` ended before it was ready"
    fi
    if [ "$SECONDS" -ge "$end" ]; then
      service_show_log "$name"
      die "\`$name\` was not ready after $limit s"
    fi
    sleep 0.1
  done
}

service_show_log() {
  local log
  log=$(service_dir "$1")/log
  say "--- the last lines of $log:"
  tail -n 30 -- "$log" >&2 || true
  say "---"
}

# service_stop NAME [SECONDS]: sends SIGTERM, and SIGKILL to its process group if it has not ended in time.
service_stop() {
  local name=$1 limit=${2:-20} pid end
  if pid=$(service_pid "$name"); then
    kill -TERM "$pid" 2>/dev/null || true
    end=$((SECONDS + limit))
    while service_running "$name"; do
      if [ "$SECONDS" -ge "$end" ]; then
        warn "\`$name\` did not stop in $limit s; killing it"
        kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
        break
      fi
      sleep 0.05
    done
  fi
  rm -f -- "$(service_dir "$name")/pid"
}

# services_ended: prints the names of the services that were started, and have ended by themselves.
services_ended() {
  local file name
  for file in "${SERVICES_DIR:?}"/*/pid; do
    [ -e "$file" ] || continue
    name=${file%/pid}
    name=${name##*/}
    service_running "$name" || printf '%s\n' "$name"
  done
}

# services_stop_all: stops every service below SERVICES_DIR.
services_stop_all() {
  local file
  for file in "${SERVICES_DIR:?}"/*/pid; do
    [ -e "$file" ] || continue
    file=${file%/pid}
    service_stop "${file##*/}"
  done
}

# processes_below FOLDER [cwd]: prints `PID COMMAND (in DIRECTORY, parent COMMAND)` of each process that has FOLDER on its
# command line, is a container whose root file system is in it, or (only with `cwd`, since it may be a person's shell) has its
# working directory there. Of mounts, only the root file system counts: a mount that a daemon left is in the list of every
# process.
processes_below() {
  local folder=$1 cwd=${2:-} process pid name
  for process in /proc/[0-9]*; do
    pid=${process#/proc/}
    if [ "$pid" = "$$" ] || [ "$pid" = "$BASHPID" ]; then continue; fi
    name=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline") || continue
    [ -n "$name" ] || continue
    if [[ $name == *"$folder/"* ]] ||
      [[ -n $cwd && $(readlink "$process/cwd" 2>/dev/null)/ == "$folder/"* ]] ||
      [ -n "$(awk -v folder="$folder/" '$5 == "/" && index($0, folder)' "$process/mountinfo" 2>/dev/null)" ]; then
      printf '%s %s(in %s, parent %s)\n' "$pid" "$name" "$(readlink "$process/cwd" 2>/dev/null)" "$(parent_command "$pid")"
    fi
  done
}

# parent_command PID: prints the command line of the process that started PID; a container's own name says little.
parent_command() {
  local parent
  parent=$(awk '$1 == "PPid:" { print $2 }' "/proc/$1/status" 2>/dev/null) || return 0
  printf '%s %s' "$parent" "$(tr '\0' ' ' 2>/dev/null <"/proc/$parent/cmdline")"
}

# kill_below FOLDER [cwd]: kills the processes that are left there after all have been asked to stop.
kill_below() {
  local pid
  while read -r pid _; do kill -KILL "$pid" 2>/dev/null || true; done < <(processes_below "$@")
}

# Unmounts what a killed daemon left mounted below FOLDER: otherwise, removing the folder would remove files in those mounts.
unmount_below() {
  local folder point
  folder=$(readlink -f -- "$1") || return 0
  while read -r point; do
    umount -l -- "$point" 2>/dev/null || true
  done < <(awk -v root="$folder/" 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
}

# remove_service_tree FOLDER: removes what daemons kept there, including mounts and files of root.
remove_service_tree() {
  [ -e "$1" ] || return 0
  unmount_below "$1"
  rm -rf --one-file-system -- "$1"
}
