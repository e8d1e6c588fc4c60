# shellcheck shell=bash
# shellcheck disable=SC2016  # $ is for apt, jq or the hook's shell
# Makes root file systems of Debian releases, from the mirror that this machine itself uses. Sourced after apt.sh.

# debian_mirror: prints the address of Debian's main archive in this machine's apt sources; no address is hard-coded.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(SITE)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk -F'|' -v codename="$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")" \
      '$4 == "main" && ($3 == codename || $3 == "stable") && $2 ~ /\/debian\/?$/ && !seen++ { print $2 }')
  [ -n "$mirror" ] || die "found no mirror of Debian's main archive in this machine's apt sources" \
    "stand-ins are made from Debian packages; without them, use a machine that reaches Docker Hub"
  printf '%s' "${mirror%/}"
}

# Prints the proxy that this machine's apt uses, for an apt that does not read its settings.
debian_apt_options() {
  local scheme proxy
  for scheme in http https; do
    proxy=$(apt-config dump --format '%v' "Acquire::$scheme::Proxy" 2>/dev/null)
    if [ -n "$proxy" ]; then printf -- '--aptopt=Acquire::%s::Proxy "%s"\n' "$scheme" "$proxy"; fi
  done
}

# debian_rootfs TAR SUITE VARIANT PACKAGES [OPTION…]: packages are comma-separated; options are mmdebstrap's.
debian_rootfs() {
  local tar=$1 suite=$2 variant=$3 packages=$4 options mirror
  shift 4
  mirror=$(debian_mirror)
  apt_install mmdebstrap debian-archive-keyring
  mapfile -t options < <(debian_apt_options)
  mkdir -p "$PEERS_DIR/logs"
  # A small image needs neither documentation nor translations. As in Debian's official images, dpkg does not wait for the disk
  # after each file.
  quietly "$PEERS_DIR/logs/mmdebstrap-$(basename -- "$(dirname -- "$tar")").log" \
    mmdebstrap --variant="$variant" --include="$packages" "${options[@]}" \
    --dpkgopt=force-unsafe-io --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$@" "$suite" "$tar" "$mirror"
}

# deb_unpack_from SUITE FOLDER PACKAGE…: like deb_unpack, but from another release of Debian, with its own package lists: the
# machine's are not touched. Only for packages that do not need a newer C library than the machine's.
deb_unpack_from() {
  local suite=$1 folder=$2 apt=$2/apt mirror deb
  shift 2
  mirror=$(debian_mirror)
  apt_install debian-archive-keyring
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,debs} "$folder/root"
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$apt/sources.list"
  local options=(-q -o "Dir::State=$apt/state" -o "Dir::Cache=$apt/cache" -o "Dir::Etc::SourceList=$apt/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o Acquire::Languages=none)
  quietly "$PEERS_DIR/logs/apt-$suite.log" apt-get update "${options[@]}"
  (cd -- "$apt/debs" && quietly "$PEERS_DIR/logs/apt-$suite.log" apt-get download "${options[@]}" "$@")
  for deb in "$apt/debs"/*.deb; do dpkg -x "$deb" "$folder/root"; done
  rm -rf -- "$apt"
}
