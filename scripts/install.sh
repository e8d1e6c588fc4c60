#!/bin/sh
# Installs a released rbake: downloads the archive for this machine, checks it against the release's checksums, and puts the
# program, its manual page and completions below one folder.
#
#   curl -fsSL https://raw.githubusercontent.com/rbake/rbake/main/scripts/install.sh | sh
#
# RBAKE_VERSION   the release to install, such as v0.1.0; the default is the latest
# RBAKE_PREFIX    where to install; the default is /usr/local for root, else ~/.local
# RBAKE_RELEASES  where to download releases from, such as a mirror; the default is GitHub
set -eu

releases=${RBAKE_RELEASES:-https://github.com/rbake/rbake/releases}

say() { printf '%s\n' "$*" >&2; }
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  = help: %s\n' "$line" >&2; done
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# fetch URL FILE: from GitHub only by HTTPS, redirects included.
fetch() {
  if have curl; then
    if [ -n "${RBAKE_RELEASES:-}" ]; then curl -fsSL -o "$2" -- "$1"; else curl -fsSL --proto '=https' --tlsv1.2 -o "$2" -- "$1"; fi
  elif have wget; then
    if [ -n "${RBAKE_RELEASES:-}" ]; then wget -q -O "$2" -- "$1"; else wget -q --https-only -O "$2" -- "$1"; fi
  else
    fail "neither \`curl\` nor \`wget\` is in PATH" "install one of them, and run this again"
  fi
}

sha256_of() {
  if have sha256sum; then
    sha256sum <"$1"
  elif have shasum; then
    shasum -a 256 <"$1"
  else
    fail "neither \`sha256sum\` nor \`shasum\` is in PATH" "install one of them, to check the download, and run this again"
  fi | cut -d ' ' -f 1
}

platform() {
  case $(uname -s) in
    Linux) system=linux ;;
    Darwin) system=darwin ;;
    *) fail "there is no release for $(uname -s)" "try to build one: cargo install --git https://github.com/rbake/rbake" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) processor=amd64 ;;
    aarch64 | arm64) processor=arm64 ;;
    *) fail "there is no release for $(uname -m)" "try to build one: cargo install --git https://github.com/rbake/rbake" ;;
  esac
  printf '%s-%s' "$system" "$processor"
}

main() {
  if [ -n "${RBAKE_PREFIX:-}" ]; then
    prefix=$RBAKE_PREFIX
  elif [ "$(id -u)" = 0 ]; then
    prefix=/usr/local
  else
    prefix=${HOME:?HOME is not set; set RBAKE_PREFIX}/.local
  fi
  if [ -n "${RBAKE_VERSION:-}" ]; then
    base=$releases/download/v${RBAKE_VERSION#v}
  else
    base=$releases/latest/download
  fi
  wanted=$(platform)
  work=$(mktemp -d)
  trap 'rm -rf -- "$work"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  fetch "$base/SHA256SUMS" "$work/sums" || fail "cannot download $base/SHA256SUMS"
  # A line is a checksum, spaces, and a name of which everything but the version is known.
  line=$(grep -E "^[0-9a-f]{64} [ *]rbake-[0-9A-Za-z.+-]+-$wanted\.tar\.gz\$" "$work/sums") ||
    fail "the release has no archive for $wanted" "it has: $(sed 's/.*[ *]//' "$work/sums" | tr '\n' ' ')"
  [ "$(printf '%s\n' "$line" | wc -l)" -eq 1 ] || fail "the release has several archives for $wanted"
  expected=${line%% *}
  archive=${line##*[ *]}
  say "downloading $archive"
  fetch "$base/$archive" "$work/archive" || fail "cannot download $base/$archive"
  found=$(sha256_of "$work/archive")
  [ "$found" = "$expected" ] ||
    fail "the checksum of $archive is wrong: sha256 $found, expected $expected" "nothing was installed"

  # Each file is named, so that nothing else in the archive is unpacked.
  folder=${archive%.tar.gz}
  mkdir "$work/files"
  tar -xzf "$work/archive" -C "$work/files" "$folder/rbake" "$folder/man/rbake.1" \
    "$folder/completions/rbake.bash" "$folder/completions/_rbake" "$folder/completions/rbake.fish"
  version=$("$work/files/$folder/rbake" --version) || fail "the program in $archive does not run on this machine"

  put "$folder/man/rbake.1" share/man/man1/rbake.1 644
  put "$folder/completions/rbake.bash" share/bash-completion/completions/rbake 644
  put "$folder/completions/_rbake" share/zsh/site-functions/_rbake 644
  put "$folder/completions/rbake.fish" share/fish/vendor_completions.d/rbake.fish 644
  put "$folder/rbake" bin/rbake 755
  say "$version is installed in $prefix/bin"
  case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) say "$prefix/bin is not in PATH; add it, for example: export PATH=\"$prefix/bin:\$PATH\"" ;;
  esac
  say "to check where it was built: gh attestation verify $prefix/bin/rbake --repo rbake/rbake"
}

# put FILE PLACE MODE: replaces a file in one step, so that no rbake that runs or starts meanwhile is disturbed.
put() {
  place=$prefix/$2
  mkdir -p "${place%/*}" || fail "cannot write to $prefix" "set RBAKE_PREFIX to another folder"
  if ! { cp -- "$work/files/$1" "$place.new.$$" && chmod "$3" "$place.new.$$" && mv -f -- "$place.new.$$" "$place"; }; then
    fail "cannot write to $place" "set RBAKE_PREFIX to another folder"
  fi
}

# The shell reads the whole script before it runs anything: an incomplete download of this script does nothing.
main
