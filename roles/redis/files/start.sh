#!/bin/sh
# Decides at start-up whom this server follows, writes the configuration accordingly, and becomes the server.
#
# The Sentinels say who is the master, a majority of them, never this script. A server becomes the master by itself only
# where they know none and nobody else holds data. Without SENTINEL_HOSTS the first pod is the master for ever.
set -eu
umask 077
# shellcheck source=roles/redis/files/lib.sh
. "${0%/*}/lib.sh"

# shellcheck disable=SC2086 -- a list of names
find_self $REDIS_HOSTS
log=$REDIS_DATA/appendonlydir
# Made by hand where nobody can know whose data is the newest.
chosen=$REDIS_DATA/start-as-master
waiting=$REDIS_RUN/waiting

# The AOF is what a server with `appendonly yes` loads; it looks at no RDB beside it, which is older anyway.
own=none
if [ -s "$log/appendonly.aof.manifest" ]; then own=log; elif [ -s "$REDIS_DATA/dump.rdb" ]; then own=snapshot; fi

# Sets $master, or the $reason why that cannot be said yet.
decide() {
  master='' reason=''
  ask_sentinels
  if [ "$knowing" -ge "$majority" ]; then
    as_told
  elif [ "$knowing" -gt 0 ] || [ "$idle" -lt "$majority" ]; then
    reason="$knowing Sentinels know the master and $idle know none, of which $majority are needed"
  else
    unheard_of
  fi
}

# A majority knows the master.
as_told() {
  if [ "$named" != "$self" ]; then
    master=$named
  elif [ -n "$doubted" ] && [ "$(date +%s)" -lt "$patience" ] && has_heirs; then
    # Up again a moment before another one is promoted, it would take writes that nobody keeps.
    reason="the Sentinels are about to promote one of $heirs"
  elif [ "$own" = log ]; then
    master=$self
  else
    take_over_empty "the Sentinels promote one of these as long as this pod does not answer"
  fi
}

has_heirs() {
  # shellcheck disable=SC2086 -- a list of names
  ask_servers $peers
  [ -n "$heirs" ]
}

# No Sentinel has ever seen a master: the first start of all, or all their volumes are lost.
unheard_of() {
  # shellcheck disable=SC2086 -- a list of names
  ask_servers $peers
  if is_one "$masters"; then
    master=$masters
  elif [ -n "$masters" ]; then
    reason="more than one pod says that it is the master: $masters"
  elif [ -e "$chosen" ]; then
    master=$self
  elif [ "$own" = none ] && [ "$number" -ne 0 ]; then
    # Nothing is lost by following, and the first pod sees that this one is empty.
    master=$first
  else
    take_over_empty "if this pod's data is the newest, say so by: touch $chosen"
  fi
}

# Replicas copy whatever their master has. One that lost its volume, or part of it, would have them copy that.
take_over_empty() {
  # shellcheck disable=SC2086 -- a list of names
  ask_servers $peers
  if [ -n "$holding" ]; then
    reason="$self is not to be the master with less data than $holding has; $1"
  elif [ -n "$silent" ]; then
    reason="$self is not to be the master before it is known whether $silent holds data; $1"
  else
    master=$self
  fi
}

# Without Sentinels. Who has nothing refuses to start over replicas that have something.
fixed_master() {
  master=$first
  if [ "$self" != "$master" ] || [ "$own" = log ]; then return; fi
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
    ask_servers "$peer"
    if [ -n "$holding" ]; then
      say "refusing to start as an empty master: $peer holds data that it would lose by following." \
        "Restore this pod's volume; or, to give the data up, scale the StatefulSet to 1 and back"
      exit 1
    fi
    # A peer whose certificate does not hold is there.
    case $silent$said in
      "$peer"*SSL*) ;;
      "$peer"*"Could not connect"*) continue ;;
    esac
    if [ -n "$silent" ]; then
      say "refusing to start as an empty master: $peer did not say whether it holds data: $said"
      exit 1
    fi
  done
}

# Makes the snapshot what the server will load.
adopt_snapshot() {
  mkdir -p "$log"
  cp "$REDIS_DATA/dump.rdb" "$log/appendonly.aof.1.base.rdb"
  echo "file appendonly.aof.1.base.rdb seq 1 type b" >"$log/appendonly.aof.manifest.new"
  mv "$log/appendonly.aof.manifest.new" "$log/appendonly.aof.manifest"
}

if [ -z "${SENTINEL_HOSTS:-}" ]; then
  fixed_master
else
  # shellcheck disable=SC2086 -- a list of names
  set -- $SENTINEL_HOSTS
  majority=$(($# / 2 + 1)) patience=$(($(date +%s) + 20)) told=''
  until
    decide
    [ -n "$master" ]
  do
    # The probes show it: alive, not ready.
    echo "$reason" >"$waiting"
    if [ "$reason" != "$told" ]; then say "waiting: $reason"; fi
    told=$reason
    sleep 1
  done
  rm -f "$waiting" "$chosen"
fi
if [ "$own" = snapshot ]; then adopt_snapshot; fi

password=$(escaped "$REDISCLI_AUTH")
{
  cat "$REDIS_SETTINGS"
  echo
  listen "$REDIS_PORT"
  echo "dir $REDIS_DATA"
  echo "maxmemory $((REDIS_MEMORY_LIMIT / 100 * REDIS_MAXMEMORY_PERCENT))"
  # By default one slow replica could outgrow the container with what it has not fetched: 256 MB.
  echo "client-output-buffer-limit replica $((REDIS_MEMORY_LIMIT / 8)) $((REDIS_MEMORY_LIMIT / 16)) 60"
  echo "requirepass \"$password\""
  echo "masterauth \"$password\""
  # Peers know this pod by its name: the address changes with every restart.
  echo "replica-announce-ip $self"
  if [ "$self" != "$master" ]; then
    echo "replicaof $master $REDIS_PORT"
    # Sentinel promotes none with 0. A master that is on its way back goes first; ready.sh says when that has changed.
    echo "replica-priority 0"
  fi
} >"$REDIS_RUN/redis.conf"
echo "$own" >"$REDIS_RUN/own"
certificate >"$REDIS_RUN/certificate"

if [ "$self" = "$master" ]; then say "$self is the master"; else say "$self follows $master"; fi
exec redis-server "$REDIS_RUN/redis.conf"
