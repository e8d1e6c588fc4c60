# shellcheck shell=bash
# The names under which tests find the programs. Sourced after programs.sh.
#
# A test never looks in PATH: it reads RBAKE_TEST_…, and fails with the name of the variable if it is not set.

# VARIABLE PROGRAM FILE, one per line; an empty FILE means the folder of the binaries.
peer_variables() {
  cat <<'END'
RBAKE_TEST_BUILDKITD buildkit buildkitd
RBAKE_TEST_BUILDCTL buildkit buildctl
RBAKE_TEST_BUILDKITD_OLD buildkit-old buildkitd
RBAKE_TEST_BUILDKITD_OLDEST buildkit-oldest buildkitd
RBAKE_TEST_FRONTEND frontend dockerfile-frontend
RBAKE_TEST_RUNC runc runc
RBAKE_TEST_RUNC_NEW runc-new runc
RBAKE_TEST_BUILDX buildx buildx
RBAKE_TEST_REGISTRY3 registry3 registry
RBAKE_TEST_REGISTRY2 registry2 registry
RBAKE_TEST_CRANE crane crane
RBAKE_TEST_REGCTL regctl regctl
RBAKE_TEST_DOCKERD engine
RBAKE_TEST_DOCKER_CLI docker-cli docker
RBAKE_TEST_SHELLS shells
RBAKE_TEST_OPENSSH openssh
RBAKE_TEST_COMPOSE compose docker-compose
RBAKE_TEST_GHA_CACHE gha-cache gha-cache
RBAKE_TEST_MOTO moto moto_server
RBAKE_TEST_AZURITE azurite azurite-blob
RBAKE_TEST_DOCKER_CONFIG docker-config docker-config
RBAKE_TEST_ROOTLESSKIT rootlesskit rootlesskit
END
}

# Programs that people call by name; of two with the same name only the first is here.
PEER_PATH=(buildkit runc buildx crane registry3 regctl compose)

# peers_env: prints `export` lines for the programs that are there.
peers_env() {
  local variable name file path=''
  while read -r variable name file; do
    file=$(peer_dir "$name")/bin${file:+/$file}
    if [ -e "$file" ]; then printf 'export %s=%q\n' "$variable" "$file"; fi
  done < <(peer_variables)
  for name in "${PEER_PATH[@]}"; do
    if [ -d "$(peer_dir "$name")/bin" ]; then path+=$(peer_dir "$name")/bin:; fi
  done
  # shellcheck disable=SC2016  # $PATH is for the shell that reads this
  printf 'export PATH=%q"$PATH"\n' "$path"
}
