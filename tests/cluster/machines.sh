#!/usr/bin/env bash
# Three machines on this one: network namespaces on a bridge, with a Ray node in each. Needs root, iproute2 and unshare.
#
#   machines.sh up                     make the bridge and the machines, without Ray
#   machines.sh ray 1                  start Ray on machine 1 (the head; first) or on another one
#   machines.sh exec 1 COMMAND...      run a command there
#   machines.sh cut 2 | heal 2         pull its cable, and plug it in again
#   machines.sh stop 2                 end all processes there
#   machines.sh down                   end all of them, and remove everything
#
# The names carry FRMDN_CLUSTER (default t), so that two clusters can stand side by side; CPUS is for each node.
set -euo pipefail

name=${FRMDN_CLUSTER:-t}
net=10.213.7
machines="1 2 3"
cpus=${CPUS:-2}
python=${PYTHON:-python}
tmp=${FRMDN_TMP:-/tmp/frmdn-$name}
# Nobody else is on this network. Workers that step back behind all others would wait for ever on a busy machine.
export RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0

ns() { echo "frmdn-$name-$1"; }
inside() { # machine, command: in its network, with a name of its own
  local machine=$1
  shift
  ip netns exec "$(ns "$machine")" unshare --uts sh -c 'hostname "$0"; exec "$@"' "machine-$machine" "$@"
}
stop() {
  local pids
  for signal in TERM KILL; do
    pids=$(ip netns pids "$(ns "$1")" 2>/dev/null || true)
    [ -z "$pids" ] && return 0
    # shellcheck disable=SC2086
    kill -$signal $pids 2>/dev/null || true
    [ $signal = TERM ] && sleep 1
  done
  return 0
}

case $1 in
up)
  ip link add "fb$name" type bridge
  ip link set "fb$name" up
  for machine in $machines; do
    ip netns add "$(ns "$machine")"
    ip link add "fv$name$machine" type veth peer name eth0 netns "$(ns "$machine")"
    ip link set "fv$name$machine" master "fb$name"
    ip link set "fv$name$machine" up
    ip -n "$(ns "$machine")" link set lo up
    ip -n "$(ns "$machine")" link set eth0 up
    ip -n "$(ns "$machine")" addr add "$net.$machine/24" dev eth0
  done
  ;;
ray)
  where="--address $net.1:6379"
  [ "$2" = 1 ] && where="--head --port 6379 --include-dashboard=false --temp-dir $tmp"
  # shellcheck disable=SC2086
  inside "$2" "$python" -m ray.scripts.scripts start $where --node-ip-address "$net.$2" \
    --num-cpus "$cpus" --object-store-memory 134217728 --disable-usage-stats
  ;;
exec)
  machine=$2
  shift 2
  inside "$machine" "$@"
  ;;
cut) ip link set "fv$name$2" down ;;
heal) ip link set "fv$name$2" up ;;
stop) stop "$2" ;;
down)
  for machine in $machines; do
    stop "$machine"
    ip netns del "$(ns "$machine")" 2>/dev/null || true
    ip link del "fv$name$machine" 2>/dev/null || true # gone with its other end, in most cases
  done
  ip link del "fb$name" 2>/dev/null || true
  rm -rf "$tmp"
  ;;
*)
  sed -n '2,11p' "$0" | cut -c3-
  exit 2
  ;;
esac
