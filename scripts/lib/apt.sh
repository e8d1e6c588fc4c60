# shellcheck shell=bash
# Debian packages: installed only where they are missing, or unpacked into the cache without installing them.
# Sourced after common.sh.

APT_UPDATED=

# Once per run, and only when something has to be fetched.
apt_update_once() {
  [ -z "$APT_UPDATED" ] || return 0
  have apt-get || die "no \`apt-get\` here: these scripts put Debian packages on a machine" \
    "on another system, install the packages named above by hand"
  mkdir -p "$PEERS_DIR/logs"
  step "apt: refreshing the package lists"
  # One broken third-party list must not stop what Debian's own lists can give.
  quietly "$PEERS_DIR/logs/apt-update.log" as_root apt-get update -q || warn "apt-get update had errors; going on with what it has"
  APT_UPDATED=1
}

deb_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' -- "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE…: installs those that are missing.
apt_install() {
  local package missing=()
  for package in "$@"; do deb_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "    Debian packages to install: ${missing[*]}"
  apt_update_once
  # The lock of dpkg may be held by unattended upgrades on a fresh machine: wait for it.
  with_lock apt quietly "$PEERS_DIR/logs/apt-install.log" as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" ||
    die "could not install the Debian packages ${missing[*]}" "see $PEERS_DIR/logs/apt-install.log"
}

# deb_unpack FOLDER PACKAGE…: fetches packages (apt checks their signatures) and unpacks them under FOLDER.
# Nothing is installed, so no service of theirs starts and no file of the system changes.
deb_unpack() {
  local folder=$1
  shift
  apt_update_once
  mkdir -p "$folder/root" "$folder/debs"
  # `_apt`, the user that apt downloads as, cannot write to root's folders; apt then says so and goes on as root.
  (cd "$folder/debs" && quietly "$PEERS_DIR/logs/apt-download.log" apt-get download -q "$@") || return 1
  local deb
  for deb in "$folder/debs"/*.deb; do dpkg -x "$deb" "$folder/root" || return 1; done
  rm -rf -- "$folder/debs"
}
