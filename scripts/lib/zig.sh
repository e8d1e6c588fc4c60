# shellcheck shell=bash
# A C compiler for other systems, with the cargo subcommand that uses it; both come from PyPI. Sourced after programs.sh.
#
# `ring` and mimalloc are C in part. Zig compiles C for macOS and for the other architecture out of the box, and links
# programs that need only a C library. It has no frameworks of macOS, so programs for macOS are linked on a Mac.

# The hashes are those of the wheels for Linux, x86-64 and arm64.
zig_requirements() {
  cat <<END
cargo-zigbuild==$CARGO_ZIGBUILD_VERSION \\
  --hash=sha256:238a1ab54a95053a4eadc34775c81f795a8ad75f80bfed63f3f445f518102375 \\
  --hash=sha256:07c5e3dcddf208500462ec927c556bb306cca2b533b0abe29446bffb63767b85
ziglang==$ZIGLANG_VERSION \\
  --hash=sha256:ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54 \\
  --hash=sha256:b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e
END
}

about_zig() { echo "zig $ZIGLANG_VERSION with cargo-zigbuild $CARGO_ZIGBUILD_VERSION, a download of 100 MB"; }
recipe_zig() {
  printf 'pip\n'
  zig_requirements
}
build_zig() {
  if ! python3 -m pip --version >/dev/null 2>&1; then apt_install python3 python3-pip; fi
  zig_requirements >"$1/requirements.txt"
  mkdir -p "$PEERS_DIR/logs"
  quietly "$PEERS_DIR/logs/pip-zig.log" python3 -m pip install --quiet --no-deps --only-binary=:all: --require-hashes \
    --no-compile --target "$1/lib" --requirement "$1/requirements.txt"
  mkdir -p "$1/bin"
  mv -- "$1/lib/bin/cargo-zigbuild" "$1/bin/"
  # Zig looks for its library next to the file that the link leads to.
  ln -s ../lib/ziglang/zig "$1/bin/zig"
}
probe_zig() { says "$ZIGLANG_VERSION" "$1/bin/zig" version && says "$CARGO_ZIGBUILD_VERSION" "$1/bin/cargo-zigbuild" --version; }

# with_zig COMMAND…: runs COMMAND with zig and `cargo-zigbuild` in PATH.
with_zig() {
  peer_install zig
  PATH=$(peer_dir zig)/bin:$PATH "$@"
}
