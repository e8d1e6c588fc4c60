# shellcheck shell=bash
# All versions are set here. If you change one, the next run builds it.
# shellcheck disable=SC2034  # read by programs.sh and rust.sh

BUILDKIT_VERSION=v0.32.2
# An old daemon that is still in use: rbake must detect what it lacks.
BUILDKIT_OLD_VERSION=v0.17.3
# The oldest daemon that rbake supports. It ignores what it does not know.
BUILDKIT_OLDEST_VERSION=v0.12.5
BUILDX_VERSION=v0.36.1
CRANE_VERSION=v0.22.1
REGCTL_VERSION=v0.11.7
REGISTRY_VERSION=v3.1.2
# Docker Engine 29 needs a runc that supports time namespaces; Debian bookworm's does not.
RUNC_VERSION=v1.3.4
MOBY_VERSION=v2.0.0-beta.24
# Before 2.3.3, no gRPC service starts if mkfs.erofs is not installed.
CONTAINERD_VERSION=v2.3.7
# The Debian release whose docker-cli is used if no docker is in PATH.
DOCKER_CLI_SUITE=trixie
# A real cluster, only for `scripts/test.sh --kubernetes`.
KUBERNETES_VERSION=v1.36.3
COMPOSE_VERSION=v2.40.3
ROOTLESSKIT_VERSION=v3.3.0
ACT_VERSION=v0.2.89
# Not a peer: finds unused dependencies. The newest that builds with the toolchain of the checkout.
CARGO_SHEAR_VERSION=1.13.0
# Their hashes are in zig.sh.
ZIGLANG_VERSION=0.17.1
CARGO_ZIGBUILD_VERSION=0.24.1
