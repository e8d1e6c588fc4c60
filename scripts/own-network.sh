#!/usr/bin/env bash
# Runs a command in a network namespace of its own; started by lib/services.sh, as root, not by people.
#
#   own-network.sh RESOLV_CONF COMMAND…    inside `unshare --net --mount`; lib/services.sh then attaches slirp4netns
#
# A Docker Engine changes the network of its machine: it makes and deletes `docker0`, rewrites iptables, turns on
# forwarding, and leaves all of that behind. In here it cannot touch the network of the machine or of another engine,
# and its changes disappear with it. It reaches the outside through slirp4netns; high ports of 127.0.0.1 lead to the
# machine, so that a registry on the machine has the same name inside and outside.
set -euo pipefail

resolv=$1
shift

# slirp4netns is attached from outside, where the machine's network is.
for _ in $(seq 200); do
  if [[ $(ip -4 -o addr show dev tap0 2>/dev/null) == *" 10.0.2.100/"* ]]; then break; fi
  sleep 0.05
done
ip -4 -o addr show dev tap0 >/dev/null || {
  echo "own-network: slirp4netns did not start" >&2
  exit 1
}
ip link set lo up

# Use the resolver of slirp4netns: the machine's own may listen on a loopback address.
echo 'nameserver 10.0.2.3' >"$resolv"
mount --bind "$resolv" "$(readlink -f /etc/resolv.conf)"

# 10.0.2.2 is the machine's address in slirp4netns. Only the registry's own port and the ports that the kernel gives to the
# registry of a test are forwarded: a step or a container can use other ports of 127.0.0.1 for itself.
sysctl -q -w net.ipv4.conf.all.route_localnet=1
iptables -t nat -A OUTPUT -d 127.0.0.1 -p tcp -m multiport --dports 5000,32768:65535 -j DNAT --to-destination 10.0.2.2
iptables -t nat -A POSTROUTING -o tap0 -j MASQUERADE

exec "$@"
