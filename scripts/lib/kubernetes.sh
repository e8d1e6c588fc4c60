# shellcheck shell=bash
# A real Kubernetes with one node, for `scripts/test.sh --kubernetes`. Sourced after services.sh and stand-ins.sh.
#
# No distribution packages the servers, so they are built from Go modules: a quarter of an hour of CPU time for the first build.
# So `peers.sh install` without names leaves them out. The cluster runs in namespaces of its own (network, mounts, processes);
# only its folder, its cgroups and slirp4netns are outside of them. cgroup v1 and v2 differ; it was tried with v1.

KUBERNETES_SOURCES=$SCRIPTS_DIR/kubernetes

about_kubernetes() { echo "etcd, the servers of Kubernetes $KUBERNETES_VERSION, kubelet and kubectl, about 15 min"; }
recipe_kubernetes() {
  printf 'go program\n%s\n' "$KUBERNETES_VERSION"
  declare -f build_kubernetes
  cat -- "$KUBERNETES_SOURCES"/*/main.go
}
build_kubernetes() {
  local dest=$1 module=$1/module source name log=$PEERS_DIR/logs/go-kubernetes.log version=k8s.io/component-base/version
  go_ready
  mkdir -p "$module" "$dest/bin" "$PEERS_DIR/logs"
  cp -- "$KUBERNETES_SOURCES/cluster/main.go" "$module/"
  (
    cd -- "$module" || exit 1
    unset GOFLAGS
    export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0
    source=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES_VERSION" | jq -r .Dir)
    # The requirements of Kubernetes itself, so that nothing is resolved again. Its own modules are published as v0.x.
    {
      printf 'module kubernetes\n\ngo %s\n\ngodebug default=go%s\n\n' "$GO_MINIMUM" "$GO_MINIMUM"
      printf 'require k8s.io/kubernetes %s\n\n' "$KUBERNETES_VERSION"
      sed -n '/^require (/,/^)/p' "$source/go.mod"
      printf '\nreplace (\n'
      sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging.*|\t\1 => \1 v0.${KUBERNETES_VERSION#v1.}|p" "$source/go.mod"
      printf ')\n'
    } >go.mod
    install -m 644 -- "$source/go.sum" go.sum
    # An idle machine has two compilers' memory; `nice`, because this takes long and a person may be working.
    quietly "$log" nice -n 15 go build -mod=mod -p 2 -trimpath \
      -ldflags "-s -w -X $version.gitVersion=$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=$(cut -d. -f2 <<<"$KUBERNETES_VERSION") -X $version.gitTreeState=clean" \
      -o "$dest/bin/kubernetes" .
  )
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl; do ln -s kubernetes "$dest/bin/$name"; done
  remove_tree "$module"
  printf 'module pause\n\ngo %s\n' "$GO_MINIMUM" >"$dest/go.mod"
  cp -- "$KUBERNETES_SOURCES/pause/main.go" "$dest/"
  (
    cd -- "$dest" || exit 1
    unset GOFLAGS
    GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 quietly "$PEERS_DIR/logs/go-pause.log" go build -trimpath -ldflags "-s -w" -o bin/pause .
  )
  rm -f -- "$dest/go.mod" "$dest/main.go"
}
probe_kubernetes() { says "Kubernetes $KUBERNETES_VERSION" "$1/bin/kubelet" --version && [ -x "$1/bin/pause" ]; }

# In an image without a C library, and started by containerd.
about_runc_static() { echo "a static runc $RUNC_VERSION, about 30 s"; }
recipe_runc_static() {
  peer_go "seccomp netgo osusergo" "-X main.version=${RUNC_VERSION#v} -extldflags -static" 1 "github.com/opencontainers/runc@$RUNC_VERSION"
}
build_runc_static() {
  apt_install gcc libc6-dev pkg-config libseccomp-dev
  build_go_recipe "$1" recipe_runc_static
}
probe_runc_static() { says "runc version ${RUNC_VERSION#v}" "$1/bin/runc" --version; }

about_cni() { echo "Debian's CNI plugins"; }
recipe_cni() { printf 'deb containernetworking-plugins\n'; }
build_cni() {
  deb_unpack "$1" containernetworking-plugins
  mv -T -- "$1/root/usr/lib/cni" "$1/bin"
  rm -rf -- "$1/root"
}
probe_cni() { [ -x "$1/bin/bridge" ] && [ -x "$1/bin/host-local" ]; }

kubernetes_install() {
  local name
  for name in buildkit engine crane runc-static cni kubernetes; do peer_install "$name"; done
}

# --- The images of a cluster: the first process of each pod, and buildkitd under the names that builders have by default.

stand_in_pause_tags() { printf 'rbake/pause:1\n'; }
stand_in_pause_recipe() {
  recipe_kubernetes
  declare -f stand_in_pause_build static_image oci_image
}
stand_in_pause_build() {
  mkdir -p "$1/rootfs"
  cp -- "$(peer_dir kubernetes)/bin/pause" "$1/rootfs/"
  static_image "$1" '{"Entrypoint": ["/pause"]}'
}

stand_in_buildkit_tags() { printf 'moby/buildkit:%s\n' buildx-stable-1 latest; }
stand_in_buildkit_recipe() {
  recipe_buildkit
  recipe_runc_static
  declare -f stand_in_buildkit_build static_image oci_image
}
# buildctl is for probes and for connections; buildkitd looks for `buildkit-runc` first. Without a volume, the state would lie on the
# container's overlay, on which overlays cannot lie.
stand_in_buildkit_build() {
  local root=$1/rootfs
  mkdir -p "$root"/{tmp,run,root,var/lib,usr/bin,etc/ssl/certs}
  chmod 1777 "$root/tmp"
  cp -- "$(peer_dir buildkit)/bin/buildkitd" "$(peer_dir buildkit)/bin/buildctl" "$root/usr/bin/"
  cp -- "$(peer_dir runc-static)/bin/runc" "$root/usr/bin/buildkit-runc"
  cp -- /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  static_image "$1" '{"Entrypoint": ["buildkitd"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    "Volumes": {"/var/lib/buildkit": {}}}'
}

# static_image FOLDER CONFIG: an image of FOLDER/rootfs.
static_image() {
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$1/rootfs" -cf "$1/rootfs.tar" .
  rm -rf -- "$1/rootfs"
  oci_image "$1" "$2"
}

# --- The cluster.

# kubernetes_start NAME REGISTRY: returns when the node and its default service account are ready. REGISTRY (127.0.0.1:PORT, plain
# HTTP) is the mirror of docker.io, and has the same address in every pod. kubernetes_config NAME prints its kubeconfig.
kubernetes_start() {
  local name=$1 registry=$2 folder pid port
  folder=$(service_dir "$name")
  case $folder in
    /var/lib/* | /run/* | /var/log/*) die "a cluster cannot be in $folder" "set TMPDIR to another folder" ;;
  esac
  apt_install iptables iproute2 slirp4netns openssl jq util-linux procps
  stand_ins_push "$registry" pause buildkit
  mkdir -p "$folder"
  kubernetes_certificates "$folder"
  kubernetes_settings "$folder" "$registry"
  kubernetes_cgroups "$folder"
  service_start "$name" bash "$KUBERNETES_SOURCES/outer.sh" "$folder"
  service_await "$name" 10 test -s "$folder/unshare.pid"
  pid=$(cat -- "$folder/unshare.pid")
  service_await "$name" 10 own_network "$pid"
  # slirp4netns has no way to choose a free port. The kernel chooses one, and a second run of this script would get another.
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  service_start "$name-network" slirp4netns --configure --mtu=65520 --api-socket "$folder/slirp.sock" "$pid" tap0
  service_await "$name-network" 10 test -S "$folder/slirp.sock"
  python3 - "$folder/slirp.sock" "$port" <<'PY' || die "cannot forward a port to the cluster"
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
arguments = {"proto": "tcp", "host_addr": "127.0.0.1", "host_port": int(sys.argv[2]), "guest_addr": "10.0.2.100", "guest_port": 6443}
s.sendall(json.dumps({"execute": "add_hostfwd", "arguments": arguments}).encode())
s.shutdown(socket.SHUT_WR)
sys.exit(b'"return"' not in s.recv(4096))
PY
  kubernetes_kubeconfig "$folder" "$folder/kubeconfig" "https://127.0.0.1:$port"
  service_await "$name" 120 kubernetes_ctl "$name" get --raw /readyz
  kubernetes_ctl "$name" create -f "$KUBERNETES_SOURCES/fast-probes.yaml" >/dev/null
  service_await "$name" 120 kubernetes_ctl "$name" wait --for=condition=Ready node/node1 --timeout=2s
  service_await "$name" 60 kubernetes_ctl "$name" get serviceaccount default
  kubernetes_volumes "$folder" | kubernetes_ctl "$name" create -f - >/dev/null
  service_await "$name" 30 kubernetes_probes_fast "$name"
}

kubernetes_config() { printf '%s/kubeconfig' "$(service_dir "$1")"; }

# kubernetes_ctl NAME ARGUMENT…: kubectl. Its cache would otherwise be in the home directory.
kubernetes_ctl() {
  local folder
  folder=$(service_dir "$1")
  shift
  KUBECACHEDIR=$folder/kube-cache "$(peer_dir kubernetes)/bin/kubectl" --kubeconfig "$folder/kubeconfig" "$@"
}

# kubernetes_probes_fast NAME: succeeds when the policy is in force, which takes a moment. Asks with a pod that is not kept.
kubernetes_probes_fast() {
  local pod='{apiVersion: v1, kind: Pod, metadata: {name: try}, spec: {containers: [{name: c, image: c, readinessProbe: {exec: {command: [c]}, periodSeconds: 30}}]}}'
  [ "$(kubernetes_ctl "$1" create --dry-run=server -f - -o 'jsonpath={.spec.containers[0].readinessProbe.periodSeconds}' <<<"$pod")" = 5 ]
}

# Volumes for the claims of a StatefulSet: nothing here makes them when they are claimed.
kubernetes_volumes() {
  local n
  for n in 1 2 3 4 5 6 7 8; do
    printf '{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv%s}, spec: {capacity: {storage: 10Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, hostPath: {path: %s/pv/%s, type: DirectoryOrCreate}}}\n---\n' "$n" "$1" "$n"
  done
}

# kubernetes_cgroup FOLDER: the name of the group of all its processes.
kubernetes_cgroup() { printf 'rbake-kubernetes-%s' "$(sha256_of_text "$1" | cut -c1-8)"; }

kubernetes_cgroups() {
  local group hierarchy
  group=$(kubernetes_cgroup "$1")
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$group"
    sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    sed 's/[^ ]*/+&/g' "/sys/fs/cgroup/$group/cgroup.controllers" >"/sys/fs/cgroup/$group/cgroup.subtree_control"
    return
  fi
  for hierarchy in /sys/fs/cgroup/*/; do
    case $hierarchy in */unified/) continue ;; esac
    mkdir -p "$hierarchy$group"
    # Processes cannot be in a cpuset before it is filled.
    if [ -e "$hierarchy$group/cpuset.cpus" ]; then
      cat -- "${hierarchy}cpuset.cpus" >"$hierarchy$group/cpuset.cpus"
      cat -- "${hierarchy}cpuset.mems" >"$hierarchy$group/cpuset.mems"
    fi
  done
}

kubernetes_stop() {
  local folder group hierarchy
  folder=$(service_dir "$1")
  service_stop "$1" 20
  service_stop "$1-network"
  group=$(kubernetes_cgroup "$folder")
  for hierarchy in /sys/fs/cgroup/"$group" /sys/fs/cgroup/*/"$group"; do
    [ ! -d "$hierarchy" ] || find "$hierarchy" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

kubernetes_certificates() {
  local pki=$1/pki
  mkdir -p "$pki"
  (
    cd -- "$pki" || exit 1
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
    sign() { # NAME SUBJECT EXTENSIONS
      key "$1"
      openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
      openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile <(printf '%s' "$3") -out "$1.crt" 2>/dev/null
      rm -- "$1.csr"
    }
    key ca
    openssl req -x509 -new -key ca.key -subj /CN=rbake-kubernetes -days 365 -out ca.crt
    sign apiserver /CN=kube-apiserver "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,IP:127.0.0.1,IP:10.0.2.100,IP:10.96.0.1
extendedKeyUsage=serverAuth"
    sign admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    # Has no rights until a test gives it some.
    sign weak /CN=weak extendedKeyUsage=clientAuth
    key sa
    openssl rand -hex 16 >token
    printf '%s,token-admin,1,"system:masters"\n' "$(cat token)" >tokens.csv
  )
}

# kubernetes_kubeconfig FOLDER FILE SERVER: with the contexts `admin` (current), `token` and `weak`.
kubernetes_kubeconfig() {
  local pki=$1/pki
  user() { printf '{client-certificate-data: %s, client-key-data: %s}' "$(base64 -w0 "$pki/$1.crt")" "$(base64 -w0 "$pki/$1.key")"; }
  cat >"$2" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$3", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users:
- {name: admin, user: $(user admin)}
- {name: weak, user: $(user weak)}
- {name: token, user: {token: $(cat -- "$pki/token")}}
contexts:
- {name: admin, context: {cluster: test, user: admin, namespace: default}}
- {name: token, context: {cluster: test, user: token, namespace: default}}
- {name: weak, context: {cluster: test, user: weak, namespace: default}}
current-context: admin
END
  unset -f user
}

kubernetes_settings() {
  local folder=$1 port=${2##*:} group
  group=$(kubernetes_cgroup "$folder")
  mkdir -p "$folder"/{logs,cni,certs.d/docker.io,containerd,kubelet,sysctl,pods,plugins,etcd,pv,var/upper,var/work}
  printf 'KUBERNETES=%q\nENGINE=%q\nPORT=%q\n' "$(peer_dir kubernetes)/bin" "$(peer_dir engine)/bin" "$port" >"$folder/settings"
  kubernetes_kubeconfig "$folder" "$folder/inner.kubeconfig" https://127.0.0.1:6443
  echo 'nameserver 10.0.2.3' >"$folder/resolv.conf"
  printf 'server = "http://10.0.2.2:%s"\n' "$port" >"$folder/certs.d/docker.io/hosts.toml"
  # kubelet would write these for the whole machine.
  local value
  for value in vm.overcommit_memory=1 vm.panic_on_oom=0 kernel.panic=10 kernel.panic_on_oops=1 kernel.keys.root_maxkeys=1000000 \
    kernel.keys.root_maxbytes=25000000; do
    echo "${value#*=}" >"$folder/sysctl/${value%%=*}"
  done
  # `restrict_oom_score_adj`: without CAP_SYS_RESOURCE, a negative one cannot be set.
  cat >"$folder/containerd.toml" <<END
version = 3
root = '$folder/containerd'
state = '/run/containerd'
[grpc]
  address = '/run/containerd/containerd.sock'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'docker.io/rbake/pause:1'
  [plugins.'io.containerd.cri.v1.images'.registry]
    config_path = '$folder/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['$(peer_dir cni)/bin', '$KUBERNETES_SOURCES']
    conf_dir = '$folder/cni'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'runc'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
        BinaryName = '$(peer_dir runc-static)/bin/runc'
        SystemdCgroup = false
END
  cat >"$folder/cni/10-pods.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "/run/cni", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "same-localhost", "port": $port}]}
END
  # Eviction would begin at a disk that is nearly full. kubelet from 1.35 on refuses cgroup v1 unless it is allowed.
  cat >"$folder/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$group
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $folder/pki/ca.crt}}
authorization: {mode: AlwaysAllow}
failSwapOn: false
evictionHard: {imagefs.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
resolvConf: $folder/resolv.conf
podLogsDir: $folder/pods
volumePluginDir: $folder/plugins
syncFrequency: 1s
END
}
