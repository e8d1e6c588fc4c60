# shellcheck shell=bash
# One recipe per program. Sourced after common.sh, stamp.sh, apt.sh, go.sh and versions.sh.
#
# A program NAME has:
#   recipe_NAME        prints everything that decides the result: the stamp is made from it
#   build_NAME DEST    makes DEST/bin/…
#   probe_NAME FOLDER  succeeds if it runs here and is the right program and version
#   about_NAME         prints what `install` shows before a long build
# The order of PEER_NAMES is the order of `install` without names: the most used come first.

# shellcheck disable=SC2034  # read by peers.sh
PEER_NAMES=(buildkit runc buildx crane registry3 registry2 frontend regctl compose gha-cache moto azurite docker-config runc-new engine
  engine-init docker-cli shells openssh buildkit-old buildkit-oldest frontend-oldest rootlesskit)

peer_function() { printf '%s_%s' "$1" "${2//-/_}"; }
peer_known() { declare -F "$(peer_function recipe "$1")" >/dev/null; }
peer_dir() { printf '%s/%s' "$PEERS_DIR/programs" "$1"; }

# says TEXT COMMAND…: succeeds if the output of COMMAND contains TEXT. (`COMMAND | grep -q` would sometimes fail under
# `pipefail`: grep exits at the first match, and the command gets a broken pipe.) The exit code does not matter: some
# programs print their usage with code 2.
says() {
  local text=$1 output
  shift
  output=$("$@" 2>&1) || true
  [ -n "$output" ] && [[ $output == *"$text"* ]]
}

# A recipe of Go tools: tags, ldflags, cgo, specs. Building and stamping read the same line, so they cannot disagree.
peer_go() { printf 'go\n%s\n' "$(printf '%s\n' "$@")"; }
build_go_recipe() {
  local dest=$1 lines
  mapfile -t lines < <("$2")
  go_tools "$dest" "${lines[@]:1}"
}

# The tags of BuildKit's own release builds, without those that need C.
BUILDKIT_TAGS="osusergo netgo static_build seccomp"

about_buildkit() { echo "buildkitd and buildctl $BUILDKIT_VERSION, about 90 s"; }
recipe_buildkit() {
  peer_go "$BUILDKIT_TAGS" "-X github.com/moby/buildkit/version.Version=$BUILDKIT_VERSION" 0 \
    "github.com/moby/buildkit/cmd/buildkitd@$BUILDKIT_VERSION" "github.com/moby/buildkit/cmd/buildctl@$BUILDKIT_VERSION"
}
build_buildkit() { build_go_recipe "$1" recipe_buildkit; }
probe_buildkit() {
  says " $BUILDKIT_VERSION" "$1/bin/buildkitd" --version && says " $BUILDKIT_VERSION" "$1/bin/buildctl" --version
}

about_buildkit_old() { echo "buildkitd $BUILDKIT_OLD_VERSION, about 60 s"; }
recipe_buildkit_old() {
  peer_go "$BUILDKIT_TAGS" "-X github.com/moby/buildkit/version.Version=$BUILDKIT_OLD_VERSION" 0 \
    "github.com/moby/buildkit/cmd/buildkitd@$BUILDKIT_OLD_VERSION"
}
build_buildkit_old() { build_go_recipe "$1" recipe_buildkit_old; }
probe_buildkit_old() { says " $BUILDKIT_OLD_VERSION" "$1/bin/buildkitd" --version; }

about_buildkit_oldest() { echo "buildkitd $BUILDKIT_OLDEST_VERSION, about 60 s"; }
recipe_buildkit_oldest() {
  peer_go "$BUILDKIT_TAGS" "-X github.com/moby/buildkit/version.Version=$BUILDKIT_OLDEST_VERSION" 0 \
    "github.com/moby/buildkit/cmd/buildkitd@$BUILDKIT_OLDEST_VERSION"
}
build_buildkit_oldest() { build_go_recipe "$1" recipe_buildkit_oldest; }
probe_buildkit_oldest() { says " $BUILDKIT_OLDEST_VERSION" "$1/bin/buildkitd" --version; }

about_frontend() { echo "the Dockerfile frontend of BuildKit $BUILDKIT_VERSION, about 15 s"; }
recipe_frontend() {
  peer_go "osusergo netgo static_build" "" 0 \
    "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend@$BUILDKIT_VERSION"
}
build_frontend() { build_go_recipe "$1" recipe_frontend; }
probe_frontend() { says dockerfile-frontend "$1/bin/dockerfile-frontend" -version; }

about_frontend_oldest() { echo "the Dockerfile frontend of BuildKit $BUILDKIT_OLDEST_VERSION, about 15 s"; }
recipe_frontend_oldest() {
  peer_go "osusergo netgo static_build" "" 0 \
    "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend@$BUILDKIT_OLDEST_VERSION"
}
build_frontend_oldest() { build_go_recipe "$1" recipe_frontend_oldest; }
probe_frontend_oldest() { says dockerfile-frontend "$1/bin/dockerfile-frontend" -version; }

about_buildx() { echo "buildx $BUILDX_VERSION, about 90 s"; }
recipe_buildx() {
  peer_go "" "-X github.com/docker/buildx/version.Version=$BUILDX_VERSION" 0 "github.com/docker/buildx/cmd/buildx@$BUILDX_VERSION"
}
build_buildx() { build_go_recipe "$1" recipe_buildx; }
probe_buildx() { says " $BUILDX_VERSION " "$1/bin/buildx" version; }

about_crane() { echo "crane $CRANE_VERSION, about 5 s"; }
recipe_crane() {
  peer_go "" "-X github.com/google/go-containerregistry/cmd/crane/cmd.Version=$CRANE_VERSION" 0 \
    "github.com/google/go-containerregistry/cmd/crane@$CRANE_VERSION"
}
build_crane() { build_go_recipe "$1" recipe_crane; }
probe_crane() { [ "$("$1/bin/crane" version)" = "$CRANE_VERSION" ]; }

about_regctl() { echo "regctl $REGCTL_VERSION, about 5 s"; }
recipe_regctl() { peer_go "" "" 0 "github.com/regclient/regclient/cmd/regctl@$REGCTL_VERSION"; }
build_regctl() { build_go_recipe "$1" recipe_regctl; }
probe_regctl() { says "$REGCTL_VERSION" "$1/bin/regctl" version; }

about_registry3() { echo "the distribution registry $REGISTRY_VERSION, about 55 s"; }
recipe_registry3() {
  peer_go "" "-X github.com/distribution/distribution/v3/version.version=$REGISTRY_VERSION" 0 \
    "github.com/distribution/distribution/v3/cmd/registry@$REGISTRY_VERSION"
}
build_registry3() { build_go_recipe "$1" recipe_registry3; }
probe_registry3() { says " $REGISTRY_VERSION" "$1/bin/registry" --version; }

# Unpacked, not installed: the package would start a service on port 5000.
about_registry2() { echo "Debian's docker-registry (2.8)"; }
recipe_registry2() { printf 'deb docker-registry\n'; }
build_registry2() {
  deb_unpack "$1" docker-registry
  mkdir -p "$1/bin"
  mv -- "$1/root/usr/bin/docker-registry" "$1/bin/registry"
  rm -rf -- "$1/root"
}
probe_registry2() { says ' 2.8' "$1/bin/registry" --version; }

# The engine starts it as the first process of containers that ask for one, as those of builders do. In a folder of its own,
# so that it can change without a new build of the engine.
about_engine_init() { echo "Debian's tini, which Docker Engine calls docker-init"; }
recipe_engine_init() { printf 'deb tini\n'; }
build_engine_init() {
  deb_unpack "$1" tini
  mkdir -p "$1/bin"
  mv -- "$1/root/usr/bin/tini-static" "$1/bin/docker-init"
  rm -rf -- "$1/root"
}
probe_engine_init() { says 'tini version' "$1/bin/docker-init" --version; }

about_runc() { echo "Debian's runc"; }
recipe_runc() { printf 'deb runc\n'; }
build_runc() {
  deb_unpack "$1" runc
  mkdir -p "$1/bin"
  mv -- "$1/root/usr/sbin/runc" "$1/bin/runc"
  rm -rf -- "$1/root"
}
probe_runc() { says 'runc version' "$1/bin/runc" --version; }

about_runc_new() { echo "runc $RUNC_VERSION, about 10 s"; }
recipe_runc_new() {
  peer_go seccomp "-X main.version=${RUNC_VERSION#v}" 1 "github.com/opencontainers/runc@$RUNC_VERSION"
}
build_runc_new() {
  apt_install gcc libc6-dev pkg-config libseccomp-dev
  build_go_recipe "$1" recipe_runc_new
}
probe_runc_new() { says "runc version ${RUNC_VERSION#v}" "$1/bin/runc" --version; }

about_compose() { echo "docker compose $COMPOSE_VERSION, about 80 s"; }
recipe_compose() {
  peer_go "" "-X github.com/docker/compose/v2/internal.Version=$COMPOSE_VERSION" 0 \
    "docker-compose=github.com/docker/compose/v2/cmd@$COMPOSE_VERSION"
}
build_compose() { build_go_recipe "$1" recipe_compose; }
probe_compose() { says "$COMPOSE_VERSION" "$1/bin/docker-compose" version; }

# dockerd finds containerd and the shim in PATH, and the shim finds runc there: one folder holds the three.
about_engine() { echo "Docker Engine 29 ($MOBY_VERSION) with containerd $CONTAINERD_VERSION, about 150 s"; }
recipe_engine() {
  recipe_engine_dockerd
  recipe_engine_containerd
}
recipe_engine_dockerd() {
  # Without docker-proxy in PATH an engine refuses to start.
  peer_go "" "" 0 "github.com/moby/moby/v2/cmd/dockerd@$MOBY_VERSION" "github.com/moby/moby/v2/cmd/docker-proxy@$MOBY_VERSION"
}
recipe_engine_containerd() {
  peer_go "" "-X github.com/containerd/containerd/v2/version.Version=$CONTAINERD_VERSION" 0 \
    "github.com/containerd/containerd/v2/cmd/containerd@$CONTAINERD_VERSION" \
    "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2@$CONTAINERD_VERSION"
}
build_engine() { build_go_recipe "$1" recipe_engine_dockerd && build_go_recipe "$1" recipe_engine_containerd; }
probe_engine() { says 'Docker version' "$1/bin/dockerd" --version && says "$CONTAINERD_VERSION" "$1/bin/containerd" --version; }

# The docker command: one in PATH if it works, else the one of the next Debian (bookworm has none). One in PATH is called by a
# script instead of copied, so that it stays up to date.
about_docker_cli() { echo "the docker command"; }
recipe_docker_cli() { printf 'docker in PATH or deb %s docker-cli\n' "$DOCKER_CLI_SUITE"; }
build_docker_cli() {
  local found
  mkdir -p "$1/bin"
  if found=$(command -v docker) && says 'Docker version' "$found" --version; then
    printf '#!/bin/sh\nexec %q "$@"\n' "$found" >"$1/bin/docker"
    chmod +x "$1/bin/docker"
    return
  fi
  deb_unpack_from "$DOCKER_CLI_SUITE" "$1" docker-cli
  mv -- "$1/root/usr/bin/docker" "$1/bin/docker"
  rm -rf -- "$1/root"
}
probe_docker_cli() { says 'Docker version' "$1/bin/docker" --version; }

about_openssh() { echo "ssh, ssh-agent, ssh-add, ssh-keygen and sshd"; }
recipe_openssh() { printf 'installed openssh-client\nunpacked openssh-server libwrap0\n'; }
build_openssh() {
  local name
  apt_install openssh-client
  # Unpacked: an installed server would start. It refuses to run without its user, which the installation would make.
  deb_unpack "$1" openssh-server libwrap0
  id -u sshd >/dev/null 2>&1 || as_root useradd --system --home-dir /run/sshd --shell /usr/sbin/nologin sshd
  mkdir -p "$1/bin" "$1/lib"
  mv -- "$1/root/usr/sbin/sshd" "$1/lib/sshd"
  mv -- "$(find "$1/root" -name 'libwrap.so.0.*')" "$1/lib/libwrap.so.0"
  rm -rf -- "$1/root"
  # sshd starts itself again, by its whole path.
  cat >"$1/bin/sshd" <<'SSHD'
#!/bin/sh
lib=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")")/lib
LD_LIBRARY_PATH=$lib exec "$lib/sshd" "$@"
SSHD
  for name in ssh ssh-agent ssh-add ssh-keygen; do
    printf '#!/bin/sh\nexec %q "$@"\n' "$(command -v "$name")" >"$1/bin/$name"
    chmod +x "$1/bin/$name"
  done
  chmod +x "$1/bin/sshd"
}
probe_openssh() {
  says usage "$1/bin/ssh-keygen" -? && says usage "$1/bin/ssh-agent" -? && says OpenSSH "$1/bin/ssh" -V &&
    says OpenSSH "$1/bin/sshd" -? && id -u sshd >/dev/null 2>&1
}

# The shells that have completions. Installed, not unpacked: they look for their modules and functions at fixed paths.

about_shells() { echo "bash, zsh and fish"; }
recipe_shells() { printf 'installed bash zsh fish\n'; }
build_shells() {
  local name
  apt_install bash zsh fish
  mkdir -p "$1/bin"
  for name in bash zsh fish; do
    printf '#!/bin/sh\nexec %q "$@"\n' "$(command -v "$name")" >"$1/bin/$name"
    chmod +x "$1/bin/$name"
  done
}
probe_shells() {
  says 'GNU bash' "$1/bin/bash" --version && says 'zsh ' "$1/bin/zsh" --version && says 'fish, version' "$1/bin/fish" --version
}

about_rootlesskit() { echo "rootlesskit $ROOTLESSKIT_VERSION, about 5 s"; }
recipe_rootlesskit() { peer_go "" "" 0 "github.com/rootless-containers/rootlesskit/v3/cmd/rootlesskit@$ROOTLESSKIT_VERSION"; }
build_rootlesskit() { build_go_recipe "$1" recipe_rootlesskit; }
probe_rootlesskit() { says 'rootlesskit version' "$1/bin/rootlesskit" --version; }

about_gha_cache() { echo "a GitHub Actions cache server (nektos/act $ACT_VERSION), about 20 s"; }
recipe_gha_cache() {
  printf 'go program\n%s\n' "$ACT_VERSION"
  cat -- "$SCRIPTS_DIR/gha-cache/main.go"
}
build_gha_cache() { go_program "$1" gha-cache "$SCRIPTS_DIR/gha-cache" "github.com/nektos/act@$ACT_VERSION"; }
probe_gha_cache() { says '-dir' "$1/bin/gha-cache" -h; }

# The versions and hashes of moto and of what it needs are in a file of requirements. Of botocore's descriptions of services, which
# are most of its size, moto reads those of the services that it serves.
MOTO_SERVICES=(s3 iam sts)

about_moto() { echo "moto, a server with Amazon's S3, a download of 25 MB"; }
recipe_moto() {
  printf 'pip\n%s\n' "${MOTO_SERVICES[*]}"
  cat -- "$SCRIPTS_DIR/moto/requirements.txt"
}
build_moto() {
  local folder
  if ! python3 -m pip --version >/dev/null 2>&1; then apt_install python3 python3-pip; fi
  mkdir -p "$PEERS_DIR/logs" "$1/bin"
  quietly "$PEERS_DIR/logs/pip-moto.log" python3 -m pip install --quiet --no-deps --only-binary=:all: --require-hashes \
    --no-compile --target "$1/lib" --requirement "$SCRIPTS_DIR/moto/requirements.txt"
  for folder in "$1"/lib/botocore/data/*/; do
    folder=$(basename -- "$folder")
    if [[ " ${MOTO_SERVICES[*]} " != *" $folder "* ]]; then remove_tree "$1/lib/botocore/data/$folder"; fi
  done
  # It calls no other server. Some machines add their own authorities to such files, which would then count as damaged.
  rm -f -- "$1/lib/certifi/cacert.pem"
  cat >"$1/bin/moto_server" <<'END'
#!/bin/sh
here=$(dirname -- "$0")
exec env PYTHONPATH="$here/../lib" PYTHONDONTWRITEBYTECODE=1 python3 -m moto.server "$@"
END
  chmod +x "$1/bin/moto_server"
}
probe_moto() { says '--port' "$1/bin/moto_server" --help; }

# The versions and hashes of azurite and of what it needs are in npm's lock file.
about_azurite() { echo "azurite, a server with Azure's blob storage, a download of 25 MB"; }
recipe_azurite() {
  printf 'npm\n'
  cat -- "$SCRIPTS_DIR/azurite/package.json" "$SCRIPTS_DIR/azurite/package-lock.json"
}
build_azurite() {
  if ! have node || ! have npm; then apt_install nodejs npm; fi
  mkdir -p "$PEERS_DIR/logs" "$1/bin"
  cp -- "$SCRIPTS_DIR/azurite/package.json" "$SCRIPTS_DIR/azurite/package-lock.json" "$1/"
  quietly "$PEERS_DIR/logs/npm-azurite.log" npm ci --prefix "$1" --ignore-scripts --omit=dev --no-audit --no-fund
  # Two thirds of the files are not programs.
  find "$1/node_modules" -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.md' \) -delete
  cat >"$1/bin/azurite-blob" <<'END'
#!/bin/sh
here=$(dirname -- "$0")
exec node "$here/../node_modules/azurite/dist/src/blob/main.js" "$@"
END
  chmod +x "$1/bin/azurite-blob"
}
probe_azurite() { says 3. "$1/bin/azurite-blob" --version; }

# docker/cli in the version that buildx requires.
about_docker_config() { echo "docker/cli's reader of configurations, as in buildx $BUILDX_VERSION, about 20 s"; }
recipe_docker_config() {
  printf 'go program\n%s\n' "$BUILDX_VERSION"
  cat -- "$SCRIPTS_DIR/docker-config/main.go"
}
build_docker_config() { go_program "$1" docker-config "$SCRIPTS_DIR/docker-config" "github.com/docker/buildx@$BUILDX_VERSION"; }
# shellcheck disable=SC2016  # $0 is for the inner shell
probe_docker_config() { says CurrentContext sh -c 'echo "{\"Dir\":\"/nonexistent\"}" | "$0"' "$1/bin/docker-config"; }

# peer_ready NAME: succeeds if it is there, unchanged, and runs.
peer_ready() {
  local folder
  folder=$(peer_dir "$1")
  stamp_ok "$folder" "$("$(peer_function recipe "$1")")" && "$(peer_function probe "$1")" "$folder" >/dev/null 2>&1
}

# peer_install NAME: makes it if it is not ready. Safe to run again, and in several processes at once.
peer_install() {
  if peer_ready "$1"; then return 0; fi
  with_lock "program-$1" peer_make "$1"
}

peer_make() {
  local name=$1 folder started=$SECONDS
  # Another run may have made it while this one waited.
  if peer_ready "$name"; then return 0; fi
  folder=$(peer_dir "$name")
  step "$name: $("$(peer_function about "$name")")"
  # A folder with the right contents whose program does not run is from another machine or system.
  if stamp_ok "$folder" "$("$(peer_function recipe "$name")")"; then remove_tree "$folder"; fi
  stamped "$folder" "$("$(peer_function recipe "$name")")" "$(peer_function build "$name")"
  "$(peer_function probe "$name")" "$folder" >/dev/null 2>&1 ||
    die "\`$name\` was made in $folder, but does not run correctly"
  say "    $name: ready after $((SECONDS - started)) s"
}
