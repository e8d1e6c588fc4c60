# shellcheck shell=bash
# Debian packages: installed only where they are missing, or unpacked into the cache without installing them.
# Sourced after common.sh.

# Updates the package lists, once per run and only if an installation fails without that.
apt_update_once() {
  local mark=$PEERS_DIR/logs/apt-updated
  # A file, since this may be called in a subshell; `$$` is the script's PID in all of them.
  [ "$(cat -- "$mark" 2>/dev/null)" != "$$" ] || return 0
  step "apt: refreshing the package lists"
  # One broken third-party list must not prevent an installation from Debian's own lists.
  quietly "$PEERS_DIR/logs/apt-update.log" as_root apt-get update -q || warn "apt-get update had errors; continuing with the lists that it got"
  printf '%s' "$$" >"$mark"
}

deb_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' -- "$1" 2>/dev/null)" = installed ]; }

# apt_install PACKAGE…: installs those that are missing.
apt_install() {
  local package missing=()
  for package in "$@"; do deb_installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "    Debian packages to install: ${missing[*]}"
  with_lock apt apt_fresh_enough apt-install apt_install_now "${missing[@]}" ||
    die "could not install the Debian packages ${missing[*]}" "see $PEERS_DIR/logs/apt-install.log"
}

# The lock of dpkg may be held by unattended upgrades on a fresh machine: wait for it.
apt_install_now() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# apt_fresh_enough LOG COMMAND…: runs COMMAND with the package lists as they are, and again with fresh ones if that fails:
# a fresh machine has none, an old one may have lists with packages that the mirror no longer has.
apt_fresh_enough() {
  local log=$PEERS_DIR/logs/$1.log
  shift
  have apt-get || die "\`apt-get\` is not in PATH: these scripts take packages from Debian" \
    "on another system, install the packages by hand"
  mkdir -p "$PEERS_DIR/logs"
  if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
  apt_update_once
  quietly "$log" "$@"
}

# deb_unpack FOLDER PACKAGE…: fetches packages (apt checks their signatures) and unpacks them under FOLDER/root.
# They are not installed, so none of their services starts and no file of the system changes.
deb_unpack() {
  local folder=$1 deb
  shift
  mkdir -p "$folder/root" "$folder/debs"
  with_lock apt apt_fresh_enough apt-download deb_download "$folder/debs" "$@"
  for deb in "$folder/debs"/*.deb; do dpkg -x "$deb" "$folder/root"; done
  rm -rf -- "$folder/debs"
}

# `_apt`, the user that apt downloads as, cannot write to root's folders; apt then warns and continues as root.
deb_download() { (cd -- "$1" && apt-get download -q "${@:2}"); }
