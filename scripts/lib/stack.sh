# shellcheck shell=bash
# Starts and stops the services that live tests share, and prints their variables. Sourced after services.sh.

# stack_up SERVICE…: starts some of `registry`, `buildkit`, `docker`, `gha`, `kubernetes`; first the registry, the mirror of the daemons.
stack_up() {
  local mirror wanted=" $* "
  peer_install registry3
  registry_start registry registry3 "$(service_dir registry)/data"
  mirror=$(registry_address registry)
  say "    registry   $mirror"
  stack_images "$mirror" "$wanted"
  if [[ $wanted == *" buildkit "* ]]; then
    peer_install runc
    peer_install buildkit
    buildkitd_start buildkit buildkit "$mirror"
    say "    buildkitd  $(buildkitd_address buildkit)"
  fi
  if [[ $wanted == *" docker "* ]]; then
    peer_install runc-new
    peer_install engine
    peer_install engine-init
    apt_install iptables iproute2 slirp4netns procps
    dockerd_start docker "${RBAKE_TEST_DOCKER_STORE:-containerd}" "$mirror"
    say "    dockerd    $(dockerd_host docker)"
    # What an engine does with images depends on its store, so tests need one of each kind.
    dockerd_start docker-classic classic "$mirror"
    say "    dockerd    $(dockerd_host docker-classic), with the classic image store"
  fi
  if [[ $wanted == *" gha "* ]]; then
    peer_install gha-cache
    gha_cache_start gha
    say "    gha cache  $(gha_cache_url gha)"
  fi
  if [[ $wanted == *" kubernetes "* ]]; then
    kubernetes_install
    kubernetes_start kubernetes "$mirror"
    say "    kubernetes $(kubernetes_config kubernetes)"
  fi
}

# stack_images REGISTRY WANTED: pushes the images that tests build from, and with an engine also those of the example site, whose
# tests run on it. The small ones are always ours, so that no test depends on Docker Hub's limits.
stack_images() {
  stand_ins_push "$1" busybox frontend frontend_oldest scanner
  if [[ $2 == *" docker "* ]]; then
    if docker_hub_reachable; then
      say "    Docker Hub can be reached: python, postgres and redis come from there"
    else
      say "    Docker Hub cannot be reached: stand-ins for python, postgres and redis"
      stand_ins_push "$1" python postgres redis
    fi
  fi
}

# stack_env: prints `export` lines for the services that run.
stack_env() {
  if service_running registry; then printf 'export RBAKE_TEST_REGISTRY_ADDR=%q\n' "$(registry_address registry)"; fi
  if service_running buildkit; then printf 'export RBAKE_TEST_BUILDKIT_ADDR=%q\n' "$(buildkitd_address buildkit)"; fi
  if service_running docker; then printf 'export RBAKE_TEST_DOCKER_HOST=%q\n' "$(dockerd_host docker)"; fi
  if service_running docker-classic; then
    printf 'export RBAKE_TEST_DOCKER_CLASSIC_HOST=%q\n' "$(dockerd_host docker-classic)"
  fi
  if service_running gha; then printf 'export RBAKE_TEST_GHA_CACHE_URL=%q\n' "$(gha_cache_url gha)"; fi
  if service_running kubernetes; then
    printf 'export RBAKE_TEST_KUBECONFIG=%q\n' "$(kubernetes_config kubernetes)"
    printf 'export RBAKE_TEST_KUBECTL=%q\n' "$(peer_dir kubernetes)/bin/kubectl"
  fi
}

stack_down() {
  [ -d "$SERVICES_DIR" ] || return 0
  dockerd_stop docker
  dockerd_stop docker-classic
  kubernetes_stop kubernetes
  services_stop_all
  kill_below "$SERVICES_DIR"
  remove_service_tree "$SERVICES_DIR"
}

# run_dir_make: makes and prints a new folder for one run, with a short name, since paths of sockets have a limit. The run must
# remove everything in it: processes, mounts and files.
run_dir_make() {
  local folder
  folder=$(mktemp -d "${TMPDIR:-/tmp}/rbt-XXXXXX")
  printf '%s %s\n' "$$" "$(process_start_time "$$")" >"$folder/owner"
  printf '%s' "$folder"
}

# run_dirs_clear: removes what killed runs left.
run_dirs_clear() {
  local folder pid started
  for folder in "${TMPDIR:-/tmp}"/rbt-*; do
    if [ ! -O "$folder" ] || [ ! -s "$folder/owner" ]; then continue; fi
    read -r pid started <"$folder/owner" || continue
    if [ "$(process_start_time "$pid")" = "$started" ]; then continue; fi
    say "    removing what a killed run left in $folder"
    (
      SERVICES_DIR=$folder/s
      stack_down
    )
    kill_below "$folder"
    remove_service_tree "$folder"
  done
}
