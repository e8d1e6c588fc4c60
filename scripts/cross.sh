#!/usr/bin/env bash
# Checks that rbake compiles for the systems that it is released for, without such a system.
#
#   scripts/cross.sh                       macOS on both processors, and Linux on arm64
#   scripts/cross.sh aarch64-apple-darwin  one target of rustc
#   scripts/cross.sh --lints [TARGET…]     run the lints too; warnings are errors
#
# Checks the library, the program and the tools, but not the tests: they need Linux. The C compiler is from PyPI, for Linux only.
set -euo pipefail
# shellcheck source=scripts/lib/all.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/all.sh"

TARGETS=()
COMMAND=(check)
END=()

while [ $# -gt 0 ]; do
  case $1 in
    --lints)
      COMMAND=(clippy)
      END=(-- -D warnings)
      ;;
    -h | --help)
      sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) die "unknown option \`$1\`" "see scripts/cross.sh --help" ;;
    *) TARGETS+=("$1") ;;
  esac
  shift
done
[ ${#TARGETS[@]} -gt 0 ] || TARGETS=(aarch64-apple-darwin x86_64-apple-darwin aarch64-unknown-linux-musl)

# shellcheck disable=SC2119
rust_ready
rust_target_ready "${TARGETS[@]}"
cd -- "$REPO_DIR"
for target in "${TARGETS[@]}"; do
  started=$SECONDS
  step "cargo ${COMMAND[*]} for $target"
  with_zig cargo-zigbuild "${COMMAND[@]}" --workspace --locked --quiet --target "$target" "${END[@]}"
  say "    $target: passed after $((SECONDS - started)) s"
done
