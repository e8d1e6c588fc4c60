#!/usr/bin/env bash
# Makes the archives of a release, as the release workflow does.
#
#   scripts/release.sh archive PLATFORM…  build an archive for each of: linux-amd64 linux-arm64 darwin-amd64 darwin-arm64
#   scripts/release.sh sums               write SHA256SUMS for the archives that are there
#   scripts/release.sh version            print the version that is released, such as v0.1.0
#
# Everything goes to target/dist. An archive has the program, its manual page, completions, README, LICENSE, and the licences of
# its dependencies. The same commit and toolchain give the same archive. Programs for Linux are static and built on Linux, with
# zig for the other processor. Programs for macOS are built on a Mac, since linking needs Apple's frameworks; scripts/cross.sh
# checks on Linux whether they compile.
#
# Afterwards, rbake can build its own image: rbake -f bake/rbake.hcl
set -euo pipefail
# The bash of macOS is from 2007: there, only this file and common.sh are read.
# shellcheck source=scripts/lib/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/common.sh"
if [ "$(uname -s)" = Linux ]; then
  # shellcheck source=scripts/lib/all.sh
  . "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"
fi

cd -- "$REPO_DIR"
DIST=$REPO_DIR/target/dist
# The largest size of a static program, in bytes. With the client of Kubernetes and the evaluator of policies, it has 24.8 MiB for linux-amd64.
SIZE_LIMIT=$((36 * 1024 * 1024))

version() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

rust_target() {
  case $1 in
    linux-amd64) echo x86_64-unknown-linux-musl ;;
    linux-arm64) echo aarch64-unknown-linux-musl ;;
    darwin-amd64) echo x86_64-apple-darwin ;;
    darwin-arm64) echo aarch64-apple-darwin ;;
    *) die "there is no release for \`$1\`" "the platforms are: linux-amd64 linux-arm64 darwin-amd64 darwin-arm64" ;;
  esac
}

# build PLATFORM TARGET: leaves the program where cargo puts it.
build() {
  local target=$2
  case $1-$(uname -s) in
    linux-*-Linux)
      # shellcheck disable=SC2119
      rust_ready
      if [ "$target" = "$MUSL_TARGET" ]; then
        rust_musl_ready
        cargo build --release --locked --target "$target" --bin rbake
      else
        rust_target_ready "$target"
        with_zig cargo-zigbuild zigbuild --release --locked --target "$target" --bin rbake
      fi
      ;;
    darwin-*-Darwin)
      rustup target add "$target"
      cargo build --release --locked --target "$target" --bin rbake
      ;;
    *) die "cannot build \`$1\` on $(uname -s)" "check whether it compiles: scripts/cross.sh $target" ;;
  esac
}

# check_static PROGRAM: fails if PROGRAM needs libraries of the system, or is too large.
check_static() {
  local headers size
  headers=$(readelf -l "$1")
  [[ $headers != *INTERP* ]] || die "$1 is not static"
  size=$(stat -c %s "$1")
  [ "$size" -le "$SIZE_LIMIT" ] || die "$1 is too large: $size bytes, at most $SIZE_LIMIT are allowed"
}

# runnable PROGRAM TARGET: prints PROGRAM if it runs here, else an equal one that is built for this machine.
runnable() {
  if "$1" --version >/dev/null 2>&1; then
    printf '%s' "$1"
    return
  fi
  say "    building an rbake for this machine, to print the completions"
  cargo build --quiet --profile quickstart --locked --bin rbake
  printf '%s' "$(cargo metadata --format-version 1 --no-deps --offline | jq -r .target_directory)/quickstart/rbake"
}

# licences TARGET: prints the packages that are compiled in, with their licence texts, each text once.
licences() {
  local target=$1 name version licence folder file sum seen
  seen=$(mktemp -d)
  echo "rbake is built from these packages, each under the licence that is named."
  cargo tree --locked --package rbake --edges normal --target "$target" --prefix none --format '{p}|{l}' |
    sed 's/ (\*)$//' | sort -u >"$seen/packages"
  cargo metadata --locked --format-version 1 --filter-platform "$target" |
    jq -r '.packages[] | select(.source) | "\(.name) v\(.version) \(.manifest_path)"' >"$seen/folders"
  while read -r name version _; do
    version=${version%%|*}
    licence=$(grep -m 1 -F "$name $version" "$seen/packages" | sed 's/.*|//')
    folder=$(awk -v name="$name" -v version="$version" '$1 == name && $2 == version { print $3; exit }' "$seen/folders")
    # Not the packages of this workspace, which are rbake itself.
    [ -n "$folder" ] || continue
    printf '\n==== %s %s: %s\n' "$name" "${version#v}" "$licence"
    for file in "${folder%/*}"/{LICENSE,LICENCE,COPYING,NOTICE,UNLICENSE}*; do
      [ -f "$file" ] || continue
      sum=$(cksum <"$file" | tr ' ' -)
      if [ -e "$seen/$sum" ]; then
        printf '\n%s: the same as for %s\n' "${file##*/}" "$(cat "$seen/$sum")"
      else
        printf '%s' "$name" >"$seen/$sum"
        printf '\n'
        cat -- "$file"
      fi
    done
  done < <(sed 's/[|(].*//' "$seen/packages" | sort -u)
  rm -rf -- "$seen"
}

# pack FOLDER NAME: packs FOLDER/NAME into DIST/NAME.tar.gz; equal contents give equal bytes.
pack() {
  local folder=$1 name=$2 time archive=$DIST/$2.tar.gz
  # Sources without a git history have no time of a commit.
  time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
  (
    cd -- "$folder"
    if tar --version | grep -q GNU; then
      tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - "$name"
    else
      find "$name" -exec env TZ=UTC touch -h -t "$(TZ=UTC date -r "$time" +%Y%m%d%H%M.%S)" {} +
      find "$name" | LC_ALL=C sort |
        COPYFILE_DISABLE=1 tar --no-recursion --uid 0 --gid 0 --uname '' --gname '' -cf - -T -
    fi
  ) | gzip -9n >"$archive.new"
  mv -- "$archive.new" "$archive"
}

archive() {
  local platform=$1 target name stage folder program shown
  target=$(rust_target "$platform")
  name=rbake-$(version)-$platform
  step "$name"
  build "$platform" "$target"
  folder=$(cargo metadata --format-version 1 --no-deps --offline | jq -r .target_directory)
  program=$folder/$target/release/rbake
  case $platform in linux-*) check_static "$program" ;; esac
  if [ "$target" = "${MUSL_TARGET:-}" ] && ! "$program" --version >&2; then die "$program does not run"; fi
  shown=$(runnable "$program")
  stage=$DIST/stage/$name
  rm -rf -- "$stage"
  mkdir -p "$stage/completions" "$stage/man"
  install -m 755 "$program" "$stage/rbake"
  install -m 644 LICENSE README.md "$stage"
  install -m 644 docs/man/rbake.1 "$stage/man"
  "$shown" completion bash >"$stage/completions/rbake.bash"
  "$shown" completion zsh >"$stage/completions/_rbake"
  "$shown" completion fish >"$stage/completions/rbake.fish"
  licences "$target" >"$stage/LICENSES-OF-DEPENDENCIES.txt"
  pack "$DIST/stage" "$name"
  case $platform in
    linux-*)
      # Where bake/rbake.hcl looks for it.
      mkdir -p "$DIST/binaries/linux/${platform#linux-}"
      install -m 755 "$program" "$DIST/binaries/linux/${platform#linux-}/rbake"
      ;;
  esac
  say "    $DIST/$name.tar.gz: $(wc -c <"$DIST/$name.tar.gz" | tr -d ' ') bytes"
}

sums() {
  local sum=(sha256sum) names
  names=rbake-$(version)
  have sha256sum || sum=(shasum -a 256)
  cd -- "$DIST"
  "${sum[@]}" "$names"-*.tar.gz | LC_ALL=C sort -k 2 >SHA256SUMS.new
  mv -- SHA256SUMS.new SHA256SUMS
  cat SHA256SUMS
}

usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"; }

case ${1:-} in
  archive)
    shift
    [ $# -gt 0 ] || die "\`archive\` needs a platform" "see scripts/release.sh --help"
    for platform in "$@"; do rust_target "$platform" >/dev/null; done
    mkdir -p "$DIST"
    for platform in "$@"; do archive "$platform"; done
    ;;
  sums) sums ;;
  version) printf 'v%s\n' "$(version)" ;;
  -h | --help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
