# The usual commands; their code is in `scripts/` and `xtask/`.

# Format, lints, licences, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --all-features --examples -- -D warnings
    cargo shear --locked
    cargo deny --offline check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# All tests that need no daemon
test:
    cargo test --workspace

# All checks and tests, with real daemons
live:
    scripts/test.sh

# Compare `--print` of rbake and buildx on random definitions
parity:
    cargo xtask parity random

# Show which behaviours of buildx rbake shares
checklist:
    cargo xtask parity checklist

# Compare the speed of rbake and buildx on one daemon
bench:
    cargo xtask bench

# What CI runs
ci:
    .ci/run
