#!/bin/sh
# Decides at start-up who is the master, writes the configuration accordingly, and becomes the server.
#
# POD_NAME ends with this pod's number; REDIS_HOSTS lists the names of all pods by number, and the first one is the
# master. The password comes as REDISCLI_AUTH, which redis-cli reads too.
set -eu
umask 077

say() { echo "start: $*" >&2; }

conf=$REDIS_RUN/redis.conf
number=${POD_NAME##*-}
# shellcheck disable=SC2086 -- a list of names
set -- $REDIS_HOSTS
master=$1
peers=
while [ $# -gt 0 ]; do
  if [ "$number" -eq 0 ]; then self=$1; else peers="$peers $1"; fi
  number=$((number - 1))
  shift
done

# Whether a peer holds data: 0 it does, 1 it does not or does not run, 2 nobody can tell.
holds_data() {
  info=$(timeout 3 redis-cli --no-auth-warning -h "$1" -p "$REDIS_PORT" INFO 2>&1 </dev/null) || true
  case $info in
    *loading:1* | *:keys=*) return 0 ;;
    *role:* | "Could not connect"*) return 1 ;;
    *) return 2 ;;
  esac
}

# Replicas copy whatever their master has. A master that lost its volume would have them copy nothing.
guard_against_empty_master() {
  if [ -e "$REDIS_DATA/dump.rdb" ] || [ -e "$REDIS_DATA/appendonlydir" ]; then return; fi
  # Without a working DNS every peer looks absent, so a name known to exist must resolve first: our own.
  tries=30
  until getent ahosts "$self" >/dev/null; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      say "refusing to start: $self does not resolve, so it cannot be known whether replicas hold data"
      exit 1
    fi
    sleep 1
  done
  for peer in $peers; do
    held=0
    holds_data "$peer" || held=$?
    case $held in
      0) say "refusing to start as an empty master: $peer holds data that it would lose by following." \
           "Restore this pod's volume; or, to give the data up, scale the StatefulSet to 1 and back"
         exit 1 ;;
      2) say "refusing to start as an empty master: $peer did not say whether it holds data: $info"
         exit 1 ;;
    esac
  done
}

# In hexadecimal a password means itself to the parser, whatever quotes, backslashes or blanks are in it.
password=$(printf %s "$REDISCLI_AUTH" | od -An -v -tx1 | tr -d '\n' | sed 's/ /\\x/g')

{
  cat "$REDIS_SETTINGS"
  echo
  echo "port $REDIS_PORT"
  echo "dir $REDIS_DATA"
  echo "maxmemory $((REDIS_MEMORY_LIMIT / 100 * REDIS_MAXMEMORY_PERCENT))"
  echo "requirepass \"$password\""
  echo "masterauth \"$password\""
  # Peers know this pod by its name: the address changes with every restart.
  echo "replica-announce-ip ${self%.}"
} >"$conf"

if [ "$self" = "$master" ]; then
  guard_against_empty_master
  say "$self is the master"
else
  echo "replicaof $master $REDIS_PORT" >>"$conf"
  say "$self follows $master"
fi
exec redis-server "$conf"
