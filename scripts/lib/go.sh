# shellcheck shell=bash
# shellcheck disable=SC2030,SC2031  # settings are meant for one subshell each
# Programs from the Go module proxy, at pinned versions. Sourced after common.sh.
#
# Each is built as a tool of a temporary module: `go install PKG@VERSION` refuses a module with `exclude` directives
# (BuildKit), and one way for all is easier to trust. The pinned version alone decides the versions of dependencies (Go
# selects the lowest that satisfy all); Go checks their contents against its checksum database.

GO_MINIMUM=1.26

go_ready() {
  [ -z "${GO_READY:-}" ] || return 0
  need go "to build BuildKit and other programs" "install Go $GO_MINIMUM or later: https://go.dev/dl/"
  local found
  found=$(go env GOVERSION)
  found=${found#go}
  if ! printf '%s\n' "$GO_MINIMUM" "$found" | sort -V -C &&
    [ "$(go env GOTOOLCHAIN)" = local ]; then
    die "Go $found is too old; $GO_MINIMUM is needed" "install Go $GO_MINIMUM or later: https://go.dev/dl/"
  fi
  GO_READY=1
}

# go_tools DEST TAGS LDFLAGS CGO SPEC…: builds every SPEC (`[NAME=]PACKAGE@VERSION`) into DEST/bin, in one module.
go_tools() {
  local dest=$1 tags=$2 ldflags=$3 cgo=$4 spec package name module
  shift 4
  go_ready
  module=$dest/module
  mkdir -p "$module" "$dest/bin" "$PEERS_DIR/logs"
  local log=$PEERS_DIR/logs/go-${dest##*/}.log
  printf 'module peer\n\ngo %s\n' "$GO_MINIMUM" >"$module/go.mod"
  local gets=()
  for spec in "$@"; do gets+=("${spec#*=}"); done
  (
    cd -- "$module" || exit 1
    # The caller's own Go settings must not change the result.
    unset GOFLAGS
    export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=$cgo
    quietly "$log" go get -tool "${gets[@]}"
    for spec in "$@"; do
      package=${spec#*=}
      package=${package%@*}
      name=${package##*/}
      case $spec in *=*) name=${spec%%=*} ;; esac
      quietly "$log" go build -trimpath -tags "$tags" -ldflags "-s -w $ldflags" -o "$dest/bin/$name" "$package"
    done
  )
  remove_tree "$module"
}

# go_program DEST NAME SOURCE MODULE@VERSION: builds the Go program in the folder SOURCE (no go.mod of its own),
# which uses the module, as DEST/bin/NAME.
go_program() {
  local dest=$1 name=$2 source=$3 requirement=$4 module
  go_ready
  module=$dest/module
  mkdir -p "$module" "$dest/bin" "$PEERS_DIR/logs"
  local log=$PEERS_DIR/logs/go-$name.log
  printf 'module peer\n\ngo %s\n' "$GO_MINIMUM" >"$module/go.mod"
  cp -- "$source"/*.go "$module/"
  (
    cd -- "$module" || exit 1
    unset GOFLAGS
    export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0
    quietly "$log" go get "$requirement"
    # Dependencies that the program shares with the module keep the versions that the module requires.
    quietly "$log" go build -mod=mod -trimpath -ldflags "-s -w" -o "$dest/bin/$name" .
  )
  remove_tree "$module"
}
