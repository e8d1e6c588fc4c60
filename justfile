# The menu; `scripts/` and `xtask/` have the code.

# Format, lints, licences, documentation
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --all-features --examples -- -D warnings
    cargo shear --locked
    cargo deny --offline check bans licenses sources
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Everything that needs no daemon
test:
    cargo test --workspace

# Everything, on real daemons
live:
    scripts/test.sh

# Both programs' --print of random definitions
parity:
    cargo xtask parity random

# Which behaviours of buildx are shown to be rbake's
checklist:
    cargo xtask parity checklist

# rbake and buildx side by side on one daemon
bench:
    cargo xtask bench

# What CI runs
ci:
    .ci/run
