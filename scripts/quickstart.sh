#!/usr/bin/env bash
# From a clone to images in a registry, on a machine that has only Rust and Go.
#
#   scripts/quickstart.sh          install what is missing, build rbake, start a registry on 127.0.0.1:5000, run
#                                  `rbake essential --push`, show the tags; the first run takes 12 minutes
#                                  on two cores, later ones are quick and find everything in the cache
#   scripts/quickstart.sh --stop   stop the registry and the builder; their data is kept for the next run
#
# The registry and the builder keep running. Their data lies outside the checkout: the registry's under
# ${RBAKE_DATA_DIR:-~/.local/share/rbake}/quickstart, the programs under ${RBAKE_PEERS_DIR:-~/.cache/rbake/peers}.
# rbake is built in a profile that is quick to build and slower to run; set RBAKE_BIN to use another rbake.
# REGISTRY, TAG, GITHUB_SHA and BRANCH are the bake file's variables; if they are not set, the last three come from git.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

PORT=5000
ADDRESS=127.0.0.1:$PORT
DATA_DIR=${RBAKE_DATA_DIR:-${XDG_DATA_HOME:-${HOME:?HOME is not set; set RBAKE_DATA_DIR}/.local/share}/rbake}/quickstart
SERVICES_DIR=$DATA_DIR/services
RBAKE=${RBAKE_BIN:-}

# What must be built first, and the CPU time of each from scratch, in seconds. Downloads run in parallel.
declare -A WORK=([crane]=25 [buildkit]=250 [frontend]=20 [python]=30 [rbake]=190)
# The compilers take up to 3 GB each at their peak.
MEMORY_FOR_BOTH=$((6 * 1024 * 1024))
# Debian's registry installs in seconds; the newer one takes a minute to compile.
PROGRAMS=(runc registry2 crane buildkit)
IMAGES=()

# The tools that this script and the others it runs need themselves.
install_tools() {
  have curl || apt_install curl ca-certificates
  have jq || apt_install jq
  have git || apt_install git
  if [ -z "$RBAKE" ]; then
    # shellcheck disable=SC2119
    rust_ready
  fi
}

# If Docker Hub cannot be reached, the base images of the site are made here.
choose_images() {
  if docker_hub_reachable; then return; fi
  say "    Docker Hub cannot be reached. \`python:3.13-slim\` and \`docker/dockerfile:1\` are STAND-INS, made on this"
  say "    machine from Debian packages and BuildKit's source. They are not the official images: do not publish"
  say "    what is built on them."
  IMAGES=(frontend python)
}

# expected: prints an estimate of the seconds until everything that is missing is made.
expected() {
  local name sum=0
  for name in "${PROGRAMS[@]}"; do
    if ! peer_ready "$name"; then sum=$((sum + ${WORK[$name]:-5})); fi
  done
  for name in "${IMAGES[@]}"; do
    if ! stand_in_ready "$name"; then sum=$((sum + WORK[$name])); fi
  done
  if [ -z "$RBAKE" ] && [ ! -x "$(target_dir)/quickstart/rbake" ]; then sum=$((sum + WORK[rbake])); fi
  printf '%s' $((sum / $(nproc)))
}

minutes() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# doing NAME: prints what NAME does now, by the last lines of its log.
doing() {
  local line
  line=$(grep -E '^(==>|   Compiling|    Finished)' "$(beside_log "$1")" 2>/dev/null | tail -n 1) || true
  line=${line#==> }
  line=${line#   Compiling }
  # Paths and descriptions of programs are too long for a line.
  line=${line%% (*}
  printf '%s: %s' "$1" "${line:-starting}"
}

# show_until_done SECONDS NAME…: shows what is done until the end, on a terminal each second in place, else as a line each 20 s.
show_until_done() {
  local expected=$1 started=$SECONDS shown=$SECONDS name text time
  shift
  while :; do
    text=
    for name in "$@"; do
      if beside_running "$name"; then text+="${text:+; }$(doing "$name")"; fi
    done
    [ -n "$text" ] || break
    time=$(minutes $((SECONDS - started)))
    if [ $((SECONDS - started)) -le "$expected" ]; then
      time+=" of about $(minutes "$expected")"
    else
      time+=", longer than expected"
    fi
    text="    $time  $text"
    if [ -t 2 ]; then
      printf '\r\033[K%s' "${text:0:$(($(tput cols 2>/dev/null || echo 80) - 1))}" >&2
    elif [ $((SECONDS - shown)) -ge 20 ]; then
      shown=$SECONDS
      say "$text"
    fi
    sleep 1
  done
  if [ -t 2 ]; then printf '\r\033[K' >&2; fi
}

begin_programs() {
  # shellcheck disable=SC2016  # the inner shell expands these
  beside programs 0 bash -c '"$0" install $1 && { [ -z "$2" ] || "$0" images $2; }' \
    "$SCRIPTS_DIR/peers.sh" "${PROGRAMS[*]}" "${IMAGES[*]}"
}

begin_rbake() { beside rbake 0 cargo build --profile quickstart --locked --manifest-path "$REPO_DIR/Cargo.toml" --bin rbake; }

# Makes the programs and rbake, at the same time if memory allows. What is there already is only checked.
make_all() {
  local seconds available what=programs
  seconds=$(expected)
  if [ ${#IMAGES[@]} -gt 0 ]; then what+=", stand-ins"; fi
  if [ -z "$RBAKE" ]; then what+=", rbake"; fi
  available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  if [ "$seconds" = 0 ]; then
    step "$what: already there"
  else
    step "$what: about $(minutes "$seconds") minutes on $(nproc) cores"
  fi
  BESIDE_DIR=$DATA_DIR/logs
  mkdir -p "$BESIDE_DIR"
  trap beside_stop EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  begin_programs
  if [ -n "$RBAKE" ]; then
    show_until_done "$seconds" programs
  elif [ "$seconds" = 0 ] || [ "$available" -ge "$MEMORY_FOR_BOTH" ]; then
    begin_rbake
    show_until_done "$seconds" programs rbake
  else
    say "    one after the other: both at once need $((MEMORY_FOR_BOTH / 1024 / 1024)) GiB of memory, and $((available / 1024 / 1024)) GiB are free"
    show_until_done "$seconds" programs
    begin_rbake
    show_until_done "$seconds" rbake
  fi
  joined programs || die "could not make the programs" "the whole output is in $(beside_log programs)"
  if [ -z "$RBAKE" ]; then
    joined rbake || die "could not build rbake" "the whole output is in $(beside_log rbake)"
    RBAKE=$(target_dir)/quickstart/rbake
  fi
  trap - EXIT INT TERM HUP
  # rbake finds BuildKit and runc for its embedded builder in PATH.
  eval "$(peers_env)"
}

# Uses the registry of an earlier run if it is running; else starts one, on the data of an earlier run if there is any.
registry_up() {
  if service_running registry; then
    if registry_answers registry; then
      say "    the registry on $ADDRESS is already running (process $(service_pid registry))"
      return
    fi
    warn "the registry (process $(service_pid registry)) does not answer; restarting it"
    service_stop registry
  fi
  local holders
  holders=$(port_holders "$PORT")
  if [ -n "$holders" ]; then
    say "port $PORT is used by a process that this script did not start:"
    say "    process ${holders//$'\n'/$'\n'    process }"
    die "cannot start a registry on $ADDRESS" "stop that process, and run this again" \
      "if it is your own registry and you want to use it: REGISTRY=HOST:PORT/PATH rbake essential --push"
  fi
  step "starting a registry on $ADDRESS"
  mkdir -p "$DATA_DIR"
  registry_start registry registry2 "$DATA_DIR/registry" "$ADDRESS"
}

# Configures the builder: the registry speaks plain HTTP, and it has the images of Docker Hub if that cannot be reached.
configure_builder() {
  local config=$DATA_DIR/buildkitd.toml
  printf '[registry."localhost:%s"]\n  http = true\n' "$PORT" >"$config.new"
  if [ ${#IMAGES[@]} -gt 0 ]; then
    stand_ins_push "$ADDRESS" "${IMAGES[@]}"
    mirror_config "$ADDRESS" >>"$config.new"
  fi
  mv -- "$config.new" "$config"
  export RBAKE_BUILDKITD_CONFIG=$config
  # Use the builder that this script configures and stops, even if the machine has others, unless the user names one.
  if [ -z "${BUILDX_BUILDER:-}${BUILDKIT_HOST:-}" ]; then export BUILDX_BUILDER=embedded; fi
}

# The bake file's variables, from git where the caller (a CI job) has not set them.
name_build() {
  export REGISTRY=${REGISTRY:-localhost:$PORT/site}
  if git -C "$REPO_DIR" rev-parse -q --verify HEAD >/dev/null 2>&1; then
    export GITHUB_SHA=${GITHUB_SHA:-$(git -C "$REPO_DIR" rev-parse HEAD)}
    export TAG=${TAG:-$(git -C "$REPO_DIR" rev-list --count HEAD)}
    # Without a branch, as in a CI checkout of one commit, the default of the bake file applies.
    local branch
    if branch=$(git -C "$REPO_DIR" symbolic-ref -q --short HEAD); then export BRANCH=${BRANCH:-$branch}; fi
  fi
}

bake() {
  step "rbake essential --push: some minutes the first time, most of them for downloads; seconds afterwards"
  # The builder keeps running; it must not keep our lock.
  (cd "$REPO_DIR" && without_our_files "$RBAKE" essential --push)
}

show_tags() {
  local repository tag crane
  crane=$(peer_dir crane)/bin/crane
  step "in the registry"
  (cd "$REPO_DIR" && "$RBAKE" essential --print) | jq -r '.target[].tags[] | sub(":[^:/]*$"; "")' | sort -u |
    while read -r repository; do
      printf '%s\n' "$repository"
      "$crane" ls --insecure "$repository" | sort | while read -r tag; do
        printf '  %-42s %s\n' "$tag" "$("$crane" digest --insecure "$repository:$tag")"
      done
    done
}

run() {
  install_tools
  choose_images
  make_all
  registry_up
  configure_builder
  name_build
  bake
  show_tags
  say ""
  say "The registry ($ADDRESS) and the builder keep running; stop them with: scripts/quickstart.sh --stop"
}

stop() {
  if [ -z "$RBAKE" ]; then RBAKE=$(target_dir 2>/dev/null)/quickstart/rbake || true; fi
  if [ -x "$RBAKE" ]; then
    (without_our_files "$RBAKE" builder stop) || warn "\`rbake builder stop\` failed"
  else
    warn "cannot stop the builder: there is no rbake at $RBAKE; an idle builder stops by itself after a while"
  fi
  if service_running registry; then
    service_stop registry
    say "the registry is stopped; its data is kept in $DATA_DIR/registry"
  else
    say "no registry that this script started is running"
  fi
}

case ${1:-} in
  '') with_lock quickstart run ;;
  --stop) with_lock quickstart stop ;;
  -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
  *) die "unknown option \`$1\`" "see scripts/quickstart.sh --help" ;;
esac
