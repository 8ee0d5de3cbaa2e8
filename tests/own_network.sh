#!/bin/sh
# Runs a command in a network of its own. Tests that run side by side need that: two Rays on one network
# take each other's ports. Ray Train looks for its workers at this machine's address, so the network has it.
[ "$(id -u)" = 0 ] || as_root=--map-root-user
exec unshare --net $as_root sh -c '
    ip link set lo up
    for address in $(hostname -i); do ip address add "$address" dev lo 2>/dev/null; done
    exec "$0" "$@"' "$@"
