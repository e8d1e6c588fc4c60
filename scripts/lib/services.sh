# shellcheck shell=bash
# The services that live tests and the quickstart use; the daemons need root. Sourced after process.sh and programs.sh.
#
# Each `…_start NAME …` returns when the service answers. No port is fixed: the kernel chooses a free one, and the service
# reports it, so two runs at once cannot use the same port.

# registry_start NAME PROGRAM DATA [ADDRESS]: the distribution registry. registry_address NAME prints its address.
registry_start() {
  local name=$1 program=$2 data=$3 address=${4:-127.0.0.1:0} folder
  folder=$(service_dir "$name")
  mkdir -p "$folder" "$data"
  cat >"$folder/config.yml" <<END
version: 0.1
log:
  level: info
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $data
  delete:
    enabled: true
http:
  addr: $address
  secret: $(head -c 16 /dev/urandom | sha256sum | cut -d' ' -f1)
END
  service_start "$name" env OTEL_TRACES_EXPORTER=none "$(peer_dir "$program")/bin/registry" serve "$folder/config.yml"
  service_await "$name" 30 registry_answers "$name"
}

# Both versions of the registry log the address that they got.
registry_address() {
  sed -n '/listening on 127\.0\.0\.1:/{s/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p;q}' "$(service_dir "$1")/log"
}

registry_answers() {
  local address
  address=$(registry_address "$1")
  [ -n "$address" ] && curl -fsS --noproxy '*' -o /dev/null --max-time 2 "http://$address/v2/" 2>/dev/null
}

# buildkitd_start NAME PROGRAM [MIRROR]: a daemon with its own root and socket. If MIRROR (host:port, plain HTTP)
# is given, docker.io's images come from there. buildkitd_address NAME prints its address.
buildkitd_start() {
  local name=$1 program=$2 mirror=${3:-} folder
  folder=$(service_dir "$name")
  mkdir -p "$folder/root"
  socket_fits "$folder/buildkitd.sock"
  buildkitd_config "$folder/root" "$folder" "$mirror" >"$folder/buildkitd.toml"
  service_start "$name" env "PATH=$(peer_dir "$program")/bin:$(peer_dir runc)/bin:$PATH" \
    "$(peer_dir "$program")/bin/buildkitd" --config "$folder/buildkitd.toml"
  service_await "$name" 60 "$(peer_dir buildkit)/bin/buildctl" --addr "$(buildkitd_address "$name")" debug workers
}

buildkitd_address() { printf 'unix://%s/buildkitd.sock' "$(service_dir "$1")"; }

buildkitd_config() {
  local root=$1 folder=$2 mirror=$3
  cat <<END
root = "$root"
[grpc]
  address = ["unix://$folder/buildkitd.sock"]
# The default, in /run/buildkit, is one for all daemons of a machine.
[otel]
  socketPath = "$folder/otel.sock"
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  binary = "$(peer_dir runc)/bin/runc"
  # On a disk that is nearly full, the daemon would remove what a test has just built.
  gc = false
END
  if [ -n "$mirror" ]; then mirror_config "$mirror"; fi
}

# mirror_config MIRROR: the part of a buildkitd.toml that takes docker.io's images from MIRROR.
mirror_config() {
  cat <<END
[registry."docker.io"]
  mirrors = ["$1"]
[registry."$1"]
  http = true
END
}

# dockerd_start NAME STORE [MIRROR]: a Docker Engine in a network of its own (see own-network.sh); STORE is `containerd`
# or `classic`. dockerd_host NAME prints its DOCKER_HOST. Ports that a container publishes are published in that
# network: from outside, use `docker exec`.
dockerd_start() {
  local name=$1 store=$2 mirror=${3:-} folder pid
  folder=$(service_dir "$name")
  mkdir -p "$folder"
  socket_fits "$folder/exec/containerd/containerd.sock.ttrpc"
  # An engine of the machine reads /etc/docker/daemon.json; ours reads another file.
  printf '{}\n' >"$folder/daemon.json"
  local options=(--config-file "$folder/daemon.json" --host "unix://$folder/docker.sock" --data-root "$folder/data"
    --exec-root "$folder/exec" --pidfile "$folder/dockerd.pid" --group "$(id -gn)")
  case $store in
    containerd) options+=(--feature containerd-snapshotter=true) ;;
    classic) options+=(--feature containerd-snapshotter=false) ;;
    *) die "\`$store\` is not an image store of Docker Engine" "use \`containerd\` or \`classic\`" ;;
  esac
  if [ -n "$mirror" ]; then options+=(--registry-mirror "http://$mirror" --insecure-registry "$mirror"); fi
  service_start "$name" env "PATH=$(peer_dir engine)/bin:$(peer_dir engine-init)/bin:$(peer_dir runc-new)/bin:$PATH" \
    unshare --net --mount -- "$SCRIPTS_DIR/own-network.sh" "$folder/resolv.conf" \
    "$(peer_dir engine)/bin/dockerd" "${options[@]}"
  pid=$(service_pid "$name")
  service_await "$name" 10 own_network "$pid"
  service_start "$name-network" slirp4netns --configure --mtu=65520 "$pid" tap0
  service_await "$name" 90 curl -fsS --max-time 5 --unix-socket "$folder/docker.sock" http://docker/_ping
}

# own_network PID: succeeds once the process has left our network namespace.
own_network() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }

# dockerd_stop NAME: removes containers first, since an engine that stops waits ten seconds for each that ignores SIGTERM.
dockerd_stop() {
  local socket id
  socket=$(service_dir "$1")/docker.sock
  if service_running "$1"; then
    while read -r id; do
      curl -fsS --max-time 20 --unix-socket "$socket" -X DELETE "http://docker/containers/$id?force=1&v=1" >/dev/null 2>&1 || true
    done < <(curl -fsS --max-time 5 --unix-socket "$socket" 'http://docker/containers/json?all=1' 2>/dev/null | jq -r '.[].Id')
  fi
  service_stop "$1" 40
  service_stop "$1-network"
}

dockerd_host() { printf 'unix://%s/docker.sock' "$(service_dir "$1")"; }

# gha_cache_start NAME: a GitHub Actions cache server (v1). gha_cache_url NAME prints its URL.
gha_cache_start() {
  local name=$1 folder
  folder=$(service_dir "$name")
  service_start "$name" "$(peer_dir gha-cache)/bin/gha-cache" -dir "$folder/store"
  service_await "$name" 20 gha_cache_url "$name"
}
gha_cache_url() { grep -m1 '^http://' "$(service_dir "$1")/log"; }

# socket_fits PATH: ends the script if PATH is longer than the kernel allows for a socket.
socket_fits() {
  [ ${#1} -lt 108 ] || die "\`$1\` is too long for a socket (107 bytes at most)" "set TMPDIR to a shorter folder"
}
