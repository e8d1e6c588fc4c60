# shellcheck shell=bash
# shellcheck disable=SC2016  # $ is for apt, jq or the hook's shell
# Stand-ins for images of Docker Hub, made from Debian packages where Docker Hub cannot be reached.
# Sourced after images.sh, apt.sh and programs.sh.
#
# They are made for this machine and never leave it: they contain its CA bundle. They are not the official images, but
# similar enough that a Dockerfile or a compose file that is written for those works unchanged.
#
# A stand-in NAME has `stand_in_NAME_tags` (what it is pushed as), `stand_in_NAME_recipe`, and
# `stand_in_NAME_build FOLDER`, which makes FOLDER/image.

# shellcheck disable=SC2034  # read by peers.sh
STAND_IN_NAMES=(busybox frontend frontend_oldest scanner python postgres redis)

docker_hub_reachable() {
  local code
  code=$(curl -sS -o /dev/null -w '%{http_code}' --max-time "${RBAKE_HUB_TIMEOUT:-5}" https://registry-1.docker.io/v2/ 2>/dev/null)
  # 401 means that Docker Hub wants a token. An answer other than these two comes from something in between.
  [ "$code" = 401 ] || [ "$code" = 200 ]
}

STAND_IN_SOURCES=$SCRIPTS_DIR/stand-ins

stand_in_dir() { printf '%s/images/%s' "$PEERS_DIR" "$1"; }

# stand_in_ready NAME: succeeds if it is there, complete, and made by this recipe.
stand_in_ready() { stamp_ok "$(stand_in_dir "$1")" "$("stand_in_$1_recipe")"; }

# stand_in_make NAME: makes it if it is not there yet.
stand_in_make() {
  local recipe
  recipe=$("stand_in_$1_recipe")
  if stamp_ok "$(stand_in_dir "$1")" "$recipe"; then return 0; fi
  with_lock "image-$1" stand_in_make_locked "$1" "$recipe"
}

stand_in_make_locked() {
  local name=$1 recipe=$2 started=$SECONDS tag
  if stamp_ok "$(stand_in_dir "$name")" "$recipe"; then return 0; fi
  read -r tag < <("stand_in_${name}_tags")
  step "making the stand-in for $tag"
  stamped "$(stand_in_dir "$name")" "$recipe" "stand_in_${name}_build"
  say "    stand-in \`$name\`: ready after $((SECONDS - started)) s"
}

# stand_ins_push REGISTRY NAME…: makes them, and pushes them to where a daemon with this mirror of docker.io looks for them.
stand_ins_push() {
  local registry=$1 name tag
  shift
  peer_install crane
  for name in "$@"; do
    stand_in_make "$name"
    while read -r tag; do
      oci_push "$(stand_in_dir "$name")" "$registry/$tag" || die "could not push the stand-in \`$tag\` to $registry"
    done < <("stand_in_${name}_tags")
  done
}

# --- busybox: a few megabytes, for tests that need a shell and no more.

stand_in_busybox_tags() { printf 'library/%s\n' busybox:latest busybox:1 alpine:latest alpine:3; }
stand_in_busybox_recipe() { declare -f stand_in_busybox_build oci_image; }
stand_in_busybox_build() {
  local folder=$1 root=$1/rootfs applet
  deb_unpack "$folder/deb" busybox-static
  mkdir -p "$root"/{bin,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,sbin,var/tmp}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  chmod 700 "$root/root"
  # Newer Debians have all of /bin in /usr/bin.
  cp -- "$(find "$folder/deb/root" -path '*/bin/busybox' -type f -print -quit)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  ln -s ../../bin/env "$root/usr/bin/env"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  # Sorted, with one time and owner: the digest is the same each time.
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$folder/rootfs.tar" .
  rm -rf -- "$folder/deb" "$root"
  oci_image "$folder" '{"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]}'
}

# --- docker/dockerfile: the real Dockerfile frontend of the pinned BuildKit, built from its Go module.

stand_in_frontend_tags() { printf 'docker/dockerfile:%s\n' 1 latest 1.7 1.7-labs 1-labs labs 1.26; }
stand_in_frontend_recipe() {
  recipe_frontend
  declare -f stand_in_frontend_build frontend_image oci_image
}
stand_in_frontend_build() { frontend_image "$1" frontend; }

# The frontend that Dockerfiles with the line `# syntax=docker/dockerfile:1.4` ask for does less than the newest one.
stand_in_frontend_oldest_tags() { printf 'docker/dockerfile:%s\n' 1.6 1.5 1.4; }
stand_in_frontend_oldest_recipe() {
  recipe_frontend_oldest
  declare -f stand_in_frontend_oldest_build frontend_image oci_image
}
stand_in_frontend_oldest_build() { frontend_image "$1" frontend-oldest; }

# frontend_image FOLDER PROGRAM
frontend_image() {
  local folder=$1 root=$1/rootfs
  peer_install "$2"
  mkdir -p "$root/bin" "$root/tmp"
  chmod 1777 "$root/tmp"
  cp -- "$(peer_dir "$2")/bin/dockerfile-frontend" "$root/bin/"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$folder/rootfs.tar" .
  rm -rf -- "$root"
  oci_image "$folder" '{"Env": ["PATH=/bin"], "Entrypoint": ["/bin/dockerfile-frontend"], "Labels": {
    "moby.buildkit.frontend.network.none": "true",
    "moby.buildkit.frontend.caps": "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"}}'
}

# --- docker/buildkit-syft-scanner: what BuildKit runs for `--sbom=true`. It lists the files of the image in an SPDX document.

stand_in_scanner_tags() { printf 'docker/buildkit-syft-scanner:%s\n' stable-1 latest; }
stand_in_scanner_recipe() {
  declare -f stand_in_scanner_build oci_image
  cat -- "$STAND_IN_SOURCES/scanner.sh"
}
stand_in_scanner_build() {
  local folder=$1 root=$1/rootfs applet
  deb_unpack "$folder/deb" busybox-static
  mkdir -p "$root"/{bin,tmp,run}
  cp -- "$(find "$folder/deb/root" -path '*/bin/busybox' -type f -print -quit)" "$root/bin/busybox"
  for applet in sh basename find sed sort; do ln -s busybox "$root/bin/$applet"; done
  install -m 755 "$STAND_IN_SOURCES/scanner.sh" "$root/bin/scanner"
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$folder/rootfs.tar" .
  rm -rf -- "$folder/deb" "$root"
  oci_image "$folder" '{"Env": ["PATH=/bin"], "Entrypoint": ["/bin/scanner"]}'
}

# --- python:3.13-slim: Debian trixie's Python, changed to behave like the official image.

stand_in_python_tags() { printf 'library/python:%s\n' 3.13-slim 3.13-slim-trixie 3.13; }
stand_in_python_recipe() {
  declare -f stand_in_python_build stand_in_debian debian_rootfs oci_image
  cat -- "$STAND_IN_SOURCES/python-hook.sh"
  machine_ca_print
}
stand_in_python_build() {
  stand_in_debian "$1" trixie minbase python3,python-is-python3,python3-venv,ca-certificates,netbase,tzdata python-hook.sh \
    '{"Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"], "Cmd": ["python3"]}'
}

# --- postgres and redis: Debian's servers, with entrypoints that accept the same variables and arguments as the official ones.

stand_in_postgres_tags() { printf 'library/postgres:%s\n' 17-alpine 17; }
stand_in_postgres_recipe() {
  declare -f stand_in_postgres_build stand_in_debian debian_rootfs oci_image
  cat -- "$STAND_IN_SOURCES/postgres-hook.sh" "$STAND_IN_SOURCES/postgres-entrypoint.sh"
}
stand_in_postgres_build() {
  # postgresql-common would make a cluster of its own while it is installed.
  stand_in_debian "$1" trixie minbase postgresql-17 postgres-hook.sh \
    '{"Env": ["PATH=/usr/local/bin:/usr/lib/postgresql/17/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8", "PGDATA=/var/lib/postgresql/data"],
      "Entrypoint": ["docker-entrypoint.sh"], "Cmd": ["postgres"], "StopSignal": "SIGINT",
      "ExposedPorts": {"5432/tcp": {}}, "Volumes": {"/var/lib/postgresql/data": {}}}' \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo create_main_cluster=false >"$1/etc/postgresql-common/createcluster.conf"'
}

stand_in_redis_tags() { printf 'library/redis:%s\n' 7-alpine 7; }
stand_in_redis_recipe() {
  declare -f stand_in_redis_build stand_in_debian debian_rootfs oci_image
  cat -- "$STAND_IN_SOURCES/redis-hook.sh" "$STAND_IN_SOURCES/redis-entrypoint.sh"
}
stand_in_redis_build() {
  # Debian bookworm is the last with a Redis 7.
  stand_in_debian "$1" bookworm minbase redis-server redis-hook.sh \
    '{"Env": ["PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"], "Entrypoint": ["docker-entrypoint.sh"],
      "Cmd": ["redis-server"], "WorkingDir": "/data", "ExposedPorts": {"6379/tcp": {}}, "Volumes": {"/data": {}}}'
}

# stand_in_debian FOLDER SUITE VARIANT PACKAGES HOOK CONFIG [OPTION…]: a root file system, changed by the hook (which
# gets its path), as an image.
stand_in_debian() {
  local folder=$1 suite=$2 variant=$3 packages=$4 hook=$5 config=$6 hook_command
  shift 6
  printf -v hook_command 'sh %q "$1" %q' "$STAND_IN_SOURCES/$hook" "$(machine_ca)"
  debian_rootfs "$folder/rootfs.tar" "$suite" "$variant" "$packages" --customize-hook="$hook_command" "$@"
  oci_image "$folder" "$(machine_ca_env "$config")"
}

# --- The machine's own certificate authorities, where it has any: a proxy may sign for the package registries.

# machine_ca: prints the file with them, or nothing.
machine_ca() {
  local file=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  if [ -e "$file" ] && { [ -n "${SSL_CERT_FILE:-}" ] || [ -n "$(ls -A /usr/local/share/ca-certificates 2>/dev/null)" ]; }; then
    printf '%s' "$file"
  fi
}
machine_ca_print() {
  local file
  file=$(machine_ca)
  if [ -n "$file" ]; then sha256sum <"$file"; else echo "no CA of its own"; fi
}

# machine_ca_env CONFIG: CONFIG, with the variables that pip, requests, node and curl look at.
machine_ca_env() {
  if [ -z "$(machine_ca)" ]; then
    printf '%s' "$1"
    return
  fi
  jq -c --arg file /etc/ssl/certs/ca-certificates.crt \
    '.Env += (["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE"] | map("\(.)=\($file)"))' <<<"$1"
}
