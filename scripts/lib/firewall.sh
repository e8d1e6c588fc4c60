# shellcheck shell=bash
# What a Docker Engine changes in the machine's network, noted before and undone after. Sourced after common.sh.
#
# An engine leaves its bridges, its iptables chains and IP forwarding behind when it stops.

# Bridges need iptables, root, and no other engine: two would share one `docker0` and flush each other's chains.
dockerd_bridge_possible() {
  [ -z "${RBAKE_TEST_NO_BRIDGE:-}" ] && have iptables && have ip && [ ! -e /sys/class/net/docker0 ] &&
    as_root iptables -t nat -L -n >/dev/null 2>&1
}

# network_note FOLDER: writes down what `network_restore FOLDER` needs.
network_note() {
  local version
  for version in 4 6; do
    forwarding_file "$version" >/dev/null || continue
    cat -- "$(forwarding_file "$version")" >"$1/forwarding.$version"
    as_root "$(iptables_of "$version")" -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p' >"$1/policy.$version"
  done
  bridges >"$1/bridges"
}

network_restore() {
  local folder=$1 version bridge tool
  [ -e "$folder/bridges" ] || return 0
  while read -r bridge; do
    grep -qxF -- "$bridge" "$folder/bridges" || as_root ip link delete "$bridge" 2>/dev/null || true
  done < <(bridges)
  for version in 4 6; do
    [ -s "$folder/forwarding.$version" ] || continue
    tool=$(iptables_of "$version")
    if have "$tool-save"; then
      # Every rule of an engine names one of its chains or bridges; other people's rules stay as they are now.
      as_root "$tool-save" 2>/dev/null | grep -vE 'DOCKER|docker0|br-[0-9a-f]{12}' | as_root "$tool-restore" 2>/dev/null || true
      if [ -s "$folder/policy.$version" ]; then as_root "$tool" -P FORWARD "$(cat "$folder/policy.$version")" 2>/dev/null || true; fi
    fi
    as_root tee "$(forwarding_file "$version")" <"$folder/forwarding.$version" >/dev/null
  done
  rm -f -- "$folder/bridges" "$folder"/forwarding.* "$folder"/policy.*
}

iptables_of() { if [ "$1" = 4 ]; then printf iptables; else printf ip6tables; fi; }

forwarding_file() {
  local file=/proc/sys/net/ipv4/ip_forward
  if [ "$1" = 6 ]; then file=/proc/sys/net/ipv6/conf/all/forwarding; fi
  [ -e "$file" ] && printf '%s' "$file"
}

# The bridges that an engine may have made.
bridges() {
  local path name
  for path in /sys/class/net/*/bridge; do
    [ -e "$path" ] || continue
    name=${path%/bridge}
    name=${name##*/}
    if [ "$name" = docker0 ] || [[ $name =~ ^br-[0-9a-f]{12}$ ]]; then printf '%s\n' "$name"; fi
  done
}
