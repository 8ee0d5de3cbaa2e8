#!/bin/sh
# Runs a command in a network of its own. Tests that run side by side need that: two Rays on one network
# take each other's ports.
[ "$(id -u)" = 0 ] || as_root=--map-root-user
exec unshare --net $as_root sh -c 'ip link set lo up && exec "$0" "$@"' "$@"
