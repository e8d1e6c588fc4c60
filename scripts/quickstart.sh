#!/usr/bin/env bash
# From a clone to images in a registry, on a machine with nothing but Rust and Go.
#
#   scripts/quickstart.sh          install what is missing, build rbake, start a registry on 127.0.0.1:5000, run
#                                  `rbake essential --push`, show the tags; again: quick, and all cached
#   scripts/quickstart.sh --stop   stop the registry and the builder; what they hold is kept for the next time
#
# Registry and builder are left running. Their data lies outside the checkout: the registry's under
# ${RBAKE_DATA_DIR:-~/.local/share/rbake}/quickstart, the programs under ${RBAKE_PEERS_DIR:-~/.cache/rbake/peers}.
# RBAKE_BIN names an rbake to use instead of building one. REGISTRY, TAG, GITHUB_SHA and BRANCH are the bake file's
# variables; without them the last three come from git.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

PORT=5000
ADDRESS=127.0.0.1:$PORT
DATA_DIR=${RBAKE_DATA_DIR:-${XDG_DATA_HOME:-${HOME:?HOME is not set; set RBAKE_DATA_DIR}/.local/share}/rbake}/quickstart
SERVICES_DIR=$DATA_DIR/services
RBAKE=${RBAKE_BIN:-}

install_programs() {
  local name
  have curl || apt_install curl ca-certificates
  have jq || apt_install jq
  have git || apt_install git
  for name in registry3 crane buildkit runc; do peer_install "$name"; done
  # rbake finds BuildKit and runc for its embedded builder in PATH.
  eval "$(peers_env)"
}

build_rbake() {
  [ -z "$RBAKE" ] || return 0
  # shellcheck disable=SC2119
  rust_ready
  step "building rbake"
  # Where it is built already, cargo says so at once.
  (cd "$REPO_DIR" && cargo build --release --locked)
  RBAKE=$(target_dir)/release/rbake
}

# The registry that an earlier run started, or that one again on its data, or a first one.
registry_up() {
  if service_running registry; then
    if registry_answers registry; then
      say "    the registry on $ADDRESS runs already (process $(service_pid registry))"
      return
    fi
    warn "the registry (process $(service_pid registry)) does not answer; starting it again"
    service_stop registry
  fi
  local holders
  holders=$(port_holders "$PORT")
  if [ -n "$holders" ]; then
    say "port $PORT is held by a process that this script did not start:"
    say "    process ${holders//$'\n'/$'\n'    process }"
    die "cannot start a registry on $ADDRESS" "stop that process, and run this again" \
      "where it is a registry of your own that you want to use: REGISTRY=HOST:PORT/PATH rbake essential --push"
  fi
  step "starting a registry on $ADDRESS"
  mkdir -p "$DATA_DIR"
  registry_start registry registry3 "$DATA_DIR/registry" "$ADDRESS"
}

# What the builder has to know: that the registry speaks plain HTTP, and, without Docker Hub, that it has its images.
configure_builder() {
  local config=$DATA_DIR/buildkitd.toml
  if docker_hub_reachable; then
    printf '[registry."localhost:%s"]\n  http = true\n' "$PORT" >"$config.new"
  else
    say "    Docker Hub cannot be reached. \`python:3.13-slim\` and \`docker/dockerfile:1\` are STAND-INS, made on this"
    say "    machine from Debian packages and BuildKit's source. They are not the official images: do not publish"
    say "    what is built on them."
    stand_ins_push "$ADDRESS" frontend python
    { mirror_config "$ADDRESS" && printf '[registry."localhost:%s"]\n  http = true\n' "$PORT"; } >"$config.new"
  fi
  mv -- "$config.new" "$config"
  export RBAKE_BUILDKITD_CONFIG=$config
  # The builder that this script configures and stops, whatever else is on the machine, unless the user names one.
  if [ -z "${BUILDX_BUILDER:-}${BUILDKIT_HOST:-}" ]; then export BUILDX_BUILDER=embedded; fi
}

# The bake file's variables, from git where the caller (a CI job) has not set them.
name_build() {
  export REGISTRY=${REGISTRY:-localhost:$PORT/site}
  if git -C "$REPO_DIR" rev-parse -q --verify HEAD >/dev/null 2>&1; then
    export GITHUB_SHA=${GITHUB_SHA:-$(git -C "$REPO_DIR" rev-parse HEAD)}
    export TAG=${TAG:-$(git -C "$REPO_DIR" rev-list --count HEAD)}
    # On no branch, as in a CI checkout of one commit, the file's default holds.
    local branch
    if branch=$(git -C "$REPO_DIR" symbolic-ref -q --short HEAD); then export BRANCH=${BRANCH:-$branch}; fi
  fi
}

bake() {
  step "rbake essential --push"
  # The builder lives on; it must not keep our lock.
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
  step "programs"
  install_programs
  build_rbake
  registry_up
  configure_builder
  name_build
  bake
  show_tags
  say ""
  say "The registry ($ADDRESS) and the builder are left running; stop them with: scripts/quickstart.sh --stop"
}

stop() {
  if [ -z "$RBAKE" ]; then RBAKE=$(target_dir 2>/dev/null)/release/rbake || true; fi
  if [ -x "$RBAKE" ]; then
    (without_our_files "$RBAKE" builder stop) || warn "\`rbake builder stop\` failed"
  else
    warn "there is no rbake at $RBAKE to stop the builder with; it stops by itself when it has been idle for a while"
  fi
  if service_running registry; then
    service_stop registry
    say "the registry is stopped; its data is kept in $DATA_DIR/registry"
  else
    say "no registry of this script is running"
  fi
}

case ${1:-} in
  '') with_lock quickstart run ;;
  --stop) with_lock quickstart stop ;;
  -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" ;;
  *) die "there is no option \`$1\` here" "see scripts/quickstart.sh --help" ;;
esac
