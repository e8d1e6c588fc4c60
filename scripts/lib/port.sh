# shellcheck shell=bash
# Finds the processes that listen on a TCP port of this machine. Sourced after common.sh.

# port_holders PORT: prints `PID COMMAND` of each process that listens there on a loopback address or on all addresses, with
# IPv4 or IPv6: `localhost` leads to all of them. PID is `?` if the process is another user's and cannot be seen.
port_holders() {
  local hex inode seen=' ' found
  printf -v hex '%04X' "$1"
  while read -r inode; do
    found=$(inode_owner "$inode")
    if [[ $seen == *" ${found%% *} "* ]]; then continue; fi
    seen+="${found%% *} "
    printf '%s\n' "$found"
  done < <(
    # 0A is LISTEN. Addresses are in the machine's byte order: 127.0.0.1, 0.0.0.0, ::, ::1, ::ffff:127.0.0.1.
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hex" '
      BEGIN {
        here["0100007F"]; here["00000000"]; here["00000000000000000000000000000000"]
        here["00000000000000000000000001000000"]; here["0000000000000000FFFF00000100007F"]
      }
      $4 == "0A" { split($2, at, ":"); if (at[2] == port && at[1] in here) print $10 }'
  )
}

inode_owner() {
  local link process
  link=$(find /proc/[0-9]*/fd -lname "socket:\\[$1\\]" -print -quit 2>/dev/null) || true
  if [ -z "$link" ]; then
    printf '? (of another user)'
    return
  fi
  process=${link%/fd/*}
  printf '%s %s' "${process#/proc/}" "$(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)"
}
