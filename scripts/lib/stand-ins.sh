# shellcheck shell=bash
# Stand-ins for images of Docker Hub, made from Debian packages where Docker Hub cannot be reached.
# Sourced after images.sh, apt.sh and programs.sh.
#
# They are made for this machine and never leave it: they carry its CA bundle, and they are not the official images,
# only enough like them that a Dockerfile or a compose file written for those works untouched.
#
# A stand-in NAME has `stand_in_NAME_tags` (what it is pushed as), `stand_in_NAME_recipe`, and
# `stand_in_NAME_build FOLDER`, which makes FOLDER/image.

# shellcheck disable=SC2034  # read by peers.sh
STAND_IN_NAMES=(busybox frontend python postgres redis)

docker_hub_reachable() {
  local code
  code=$(curl -sS -o /dev/null -w '%{http_code}' --max-time "${RBAKE_HUB_TIMEOUT:-5}" https://registry-1.docker.io/v2/ 2>/dev/null) || return 1
  # Docker Hub asks for a token: that is an answer. Anything else is something in between.
  [ "$code" = 401 ] || [ "$code" = 200 ]
}

stand_in_dir() { printf '%s/images/%s' "$PEERS_DIR" "$1"; }

# stand_in_make NAME: makes it where it is not there yet.
stand_in_make() {
  local recipe
  recipe=$("stand_in_$1_recipe")
  if stamp_ok "$(stand_in_dir "$1")" "$recipe"; then return 0; fi
  with_lock "image-$1" stand_in_make_locked "$1" "$recipe"
}

stand_in_make_locked() {
  local name=$1 recipe=$2 started=$SECONDS
  if stamp_ok "$(stand_in_dir "$name")" "$recipe"; then return 0; fi
  step "stand-in for $("stand_in_${name}_tags" | head -n 1): made from Debian packages"
  stamped "$(stand_in_dir "$name")" "$recipe" "stand_in_${name}_build" ||
    die "could not make the stand-in \`$name\`" "logs are in $PEERS_DIR/logs"
  say "    stand-in \`$name\`: ready after $((SECONDS - started)) s"
}

# stand_ins_push REGISTRY NAME…: makes them, and puts them where a daemon that mirrors docker.io looks for them.
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
  deb_unpack "$folder/deb" busybox-static || return 1
  mkdir -p "$root"/{bin,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,sbin,var/tmp} || return 1
  chmod 1777 "$root/tmp" "$root/var/tmp"
  chmod 700 "$root/root"
  cp -- "$folder/deb/root/bin/busybox" "$root/bin/busybox" 2>/dev/null || cp -- "$folder/deb/root/usr/bin/busybox" "$root/bin/busybox" || return 1
  for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
  done
  ln -s ../../bin/env "$root/usr/bin/env"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  # Sorted, with one time and owner: the digest is the same each time.
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$folder/rootfs.tar" . || return 1
  rm -rf -- "$folder/deb" "$root"
  oci_image "$folder" '{"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["sh"]}'
}

# --- docker/dockerfile: the real Dockerfile frontend of the pinned BuildKit, built from its Go module.

stand_in_frontend_tags() { printf 'docker/dockerfile:%s\n' 1 latest 1.4 1.5 1.6 1.7 1.7-labs 1-labs labs 1.26; }
stand_in_frontend_recipe() {
  recipe_frontend
  declare -f stand_in_frontend_build oci_image
}
stand_in_frontend_build() {
  local folder=$1 root=$1/rootfs
  peer_install frontend
  mkdir -p "$root/bin" "$root/tmp"
  chmod 1777 "$root/tmp"
  cp -- "$(peer_dir frontend)/bin/dockerfile-frontend" "$root/bin/" || return 1
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$root" -cf "$folder/rootfs.tar" . || return 1
  rm -rf -- "$root"
  oci_image "$folder" '{"Env": ["PATH=/bin"], "Entrypoint": ["/bin/dockerfile-frontend"], "Labels": {
    "moby.buildkit.frontend.network.none": "true",
    "moby.buildkit.frontend.caps": "moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"}}'
}
