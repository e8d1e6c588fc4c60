#!/usr/bin/env bash
# inner.sh FOLDER: the first process of the cluster's namespaces. Started by outer.sh.
set -euo pipefail
D=$1
# KUBERNETES, ENGINE, RUNC: folders and a program; PORT: the registry's.
# shellcheck source=/dev/null
. "$D/settings"
# kubelet's volumes must reach containers. The machine's own mounts are out of reach.
mount --make-rshared /
# Sockets, locks, network namespaces and the state of containers; /var/log/containers is fixed in kubelet.
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=755 log /var/log
# /var/lib/cni and /var/lib/kubelet are fixed, too: they are made in a layer of our own, not on the machine.
mount -t overlay -o "lowerdir=/var/lib,upperdir=$D/var/upper,workdir=$D/var/work" lib /var/lib
mkdir -p /var/lib/kubelet
# Volumes of pods must not lie on an overlay, because BuildKit's snapshots are overlays.
mount --bind "$D/kubelet" /var/lib/kubelet
mount --bind "$D/resolv.conf" "$(readlink -f /etc/resolv.conf)"
# kubelet sets sysctls of the whole machine, or refuses to start: it sees the values that it wants.
for file in "$D"/sysctl/*; do
  path=/proc/sys/$(basename "$file" | tr . /)
  [ ! -e "$path" ] || mount --bind "$file" "$path"
done
ip link set lo up
until [[ $(ip -4 -o addr show dev tap0 2>/dev/null) == *" 10.0.2.100/"* ]]; do sleep 0.05; done
sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.route_localnet=1
iptables -t nat -A OUTPUT -d 127.0.0.1 -p tcp --dport "$PORT" -j DNAT --to-destination 10.0.2.2
iptables -t nat -A POSTROUTING -o tap0 -j MASQUERADE

run() {
  local name=$1
  shift
  "$@" >"$D/logs/$name.log" 2>&1 &
}
pki=$D/pki
run etcd "$KUBERNETES/etcd" --data-dir "$D/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
PATH=$ENGINE:$PATH run containerd "$ENGINE/containerd" --config "$D/containerd.toml" --log-level info
run kube-apiserver "$KUBERNETES/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --secure-port 6443 --advertise-address 10.0.2.100 \
  --tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
  --token-auth-file "$pki/tokens.csv" --service-account-issuer https://kubernetes.default.svc \
  --service-account-key-file "$pki/sa.key" --service-account-signing-key-file "$pki/sa.key" \
  --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" --kubelet-preferred-address-types InternalIP \
  --service-cluster-ip-range 10.96.0.0/24 --authorization-mode Node,RBAC --allow-privileged --cert-dir /run/kubernetes
until "$KUBERNETES/kubectl" --kubeconfig "$D/inner.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.2; done
run kube-controller-manager "$KUBERNETES/kube-controller-manager" --kubeconfig "$D/inner.kubeconfig" --leader-elect=false \
  --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --flex-volume-plugin-dir "$D/plugins"
run kube-scheduler "$KUBERNETES/kube-scheduler" --kubeconfig "$D/inner.kubeconfig" --leader-elect=false
run kubelet "$KUBERNETES/kubelet" --config "$D/kubelet.yaml" --kubeconfig "$D/inner.kubeconfig" --hostname-override node1 --node-ip 10.0.2.100
wait
