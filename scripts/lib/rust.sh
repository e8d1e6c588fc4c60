# shellcheck shell=bash
# Installs Rust components, targets and tools. Sourced after apt.sh, stamp.sh and versions.sh.

MUSL_TARGET=$(uname -m)-unknown-linux-musl

# rust_ready [COMPONENT…]: makes sure that the toolchain builds the checkout; `ring` and mimalloc need a C compiler.
rust_ready() {
  local component
  need cargo "to build rbake" "install Rust: https://rustup.rs"
  have cc || apt_install gcc libc6-dev
  for component in "$@"; do
    if (cd "$REPO_DIR" && cargo "$component" --version >/dev/null 2>&1); then continue; fi
    need rustup "to add \`$component\` to the toolchain"
    step "rust: adding $component"
    (cd "$REPO_DIR" && rustup component add "${component/fmt/rustfmt}")
  done
}

# rust_target_ready TARGET…: installs the standard library of each.
rust_target_ready() {
  local target installed
  # Without rustup, the target must come with the toolchain; cargo reports it if it does not.
  have rustup || return 0
  installed=$(cd "$REPO_DIR" && rustup target list --installed)
  for target in "$@"; do
    if grep -qx -- "$target" <<<"$installed"; then continue; fi
    step "rust: adding the target $target"
    (cd "$REPO_DIR" && rustup target add "$target")
  done
}

# rust_musl_ready: installs what the static release binary needs in addition.
rust_musl_ready() {
  have musl-gcc || apt_install musl-tools
  rust_target_ready "$MUSL_TARGET"
}

# cargo_shear_ready: makes the program CARGO_SHEAR, which finds unused dependencies. It is built once, in the cache.
# shellcheck disable=SC2034  # read by test.sh
CARGO_SHEAR=$PEERS_DIR/programs/cargo-shear/bin/cargo-shear
cargo_shear_ready() {
  with_lock program-cargo-shear stamped "$PEERS_DIR/programs/cargo-shear" "cargo $CARGO_SHEAR_VERSION" cargo_shear_build
}
cargo_shear_build() {
  step "cargo-shear $CARGO_SHEAR_VERSION, about 150 s"
  mkdir -p "$PEERS_DIR/logs"
  # In the checkout, so that its toolchain builds it.
  (cd "$REPO_DIR" && quietly "$PEERS_DIR/logs/cargo-shear.log" \
    cargo install --locked --version "$CARGO_SHEAR_VERSION" --root "$1" cargo-shear)
}

# target_dir: prints the folder of what cargo builds.
target_dir() {
  (cd "$REPO_DIR" && cargo metadata --format-version 1 --no-deps --offline) | jq -r .target_directory
}

# The fuzz targets are a separate workspace; they use our versions of dependencies, and cargo adds those that only they need.
fuzz_lock() { cp -- "$REPO_DIR/Cargo.lock" "$REPO_DIR/fuzz/Cargo.lock"; }
