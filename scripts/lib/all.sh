# shellcheck shell=bash
# Sources the library in its order. `. scripts/lib/all.sh`
_lib=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=scripts/lib/common.sh
. "$_lib/common.sh"
# shellcheck source=scripts/lib/versions.sh
. "$_lib/versions.sh"
# shellcheck source=scripts/lib/stamp.sh
. "$_lib/stamp.sh"
# shellcheck source=scripts/lib/apt.sh
. "$_lib/apt.sh"
# shellcheck source=scripts/lib/go.sh
. "$_lib/go.sh"
# shellcheck source=scripts/lib/programs.sh
. "$_lib/programs.sh"
# shellcheck source=scripts/lib/env.sh
. "$_lib/env.sh"
# shellcheck source=scripts/lib/process.sh
. "$_lib/process.sh"
# shellcheck source=scripts/lib/beside.sh
. "$_lib/beside.sh"
# shellcheck source=scripts/lib/port.sh
. "$_lib/port.sh"
# shellcheck source=scripts/lib/services.sh
. "$_lib/services.sh"
# shellcheck source=scripts/lib/images.sh
. "$_lib/images.sh"
# shellcheck source=scripts/lib/debian.sh
. "$_lib/debian.sh"
# shellcheck source=scripts/lib/stand-ins.sh
. "$_lib/stand-ins.sh"
# shellcheck source=scripts/lib/kubernetes.sh
. "$_lib/kubernetes.sh"
# shellcheck source=scripts/lib/stack.sh
. "$_lib/stack.sh"
# shellcheck source=scripts/lib/rust.sh
. "$_lib/rust.sh"
# shellcheck source=scripts/lib/zig.sh
. "$_lib/zig.sh"
unset _lib
