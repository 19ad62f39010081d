#!/bin/sh
# Writes Sentinel's configuration from what it knew before, and becomes Sentinel.
#
# Sentinel keeps its memory in its configuration file, passwords included: the file stays in memory, and what it knows
# goes to the volume without them.
set -eu
umask 077
# shellcheck source=roles/redis/files/lib.sh
. "${0%/*}/lib.sh"

# shellcheck disable=SC2086 -- a list of names
find_self $SENTINEL_HOSTS
conf=$SENTINEL_RUN/sentinel.conf
known=$SENTINEL_DATA/known
# shellcheck disable=SC2086 -- a list of names
set -- $SENTINEL_HOSTS
quorum=$(($# / 2 + 1))

# Pods that are no more would still be counted when votes are. Names have a dot at their end, but not with TLS: what was
# kept before it was switched on or off has the others.
knowledge() {
  grep -E "^sentinel (monitor|config-epoch|leader-epoch|known-replica|known-sentinel) $SENTINEL_MASTER |^sentinel current-epoch " "$1" |
    while read -r sentinel word name host rest; do
      case " $REDIS_HOSTS $SENTINEL_HOSTS " in
        *" $host "*) ;;
        *" ${host%.} "*) host=${host%.} ;;
        *" $host. "*) host=$host. ;;
      esac
      case "$word $REDIS_HOSTS $SENTINEL_HOSTS " in
        monitor\ *) echo "$sentinel monitor $name $host ${rest% *} $quorum" ;;
        known-*" $host "* | *-epoch\ *) echo "$sentinel $word $name${host:+ $host}${rest:+ $rest}" ;;
      esac
    done
}

keep() {
  knowledge "$1" >"$known.new" || true
  mv "$known.new" "$known"
}

# Where a container restarted, the file it left is newer than the copy.
if [ -s "$conf" ]; then keep "$conf"; elif [ -s "$known" ]; then keep "$known"; fi
started=$(certificate)

options="down-after-milliseconds $SENTINEL_DOWN_AFTER failover-timeout $SENTINEL_FAILOVER_TIMEOUT parallel-syncs 1"
password=$(escaped "$REDISCLI_AUTH")
{
  cat "$SENTINEL_SETTINGS"
  echo
  listen "$SENTINEL_PORT"
  echo "dir $SENTINEL_RUN"
  echo "requirepass \"$password\""
  echo "sentinel sentinel-pass \"$password\""
  # Always the same for a pod: with a new one at each start the others would count it twice.
  echo "sentinel myid $(printf %s "$self" | sha1sum | cut -c1-40)"
  echo "sentinel announce-ip $self"
  echo "sentinel announce-port $SENTINEL_PORT"
  if grep -q "^sentinel monitor" "$known" 2>/dev/null; then
    grep "^sentinel monitor" "$known"
    echo "sentinel auth-pass $SENTINEL_MASTER \"$password\""
    # shellcheck disable=SC2086 -- pairs of words
    printf "sentinel %s $SENTINEL_MASTER %s\n" $options
    grep -v "^sentinel monitor" "$known" || true
  fi
} >"$conf"

sentinel() { ask "$self" "$SENTINEL_PORT" SENTINEL "$@"; }

# The other Sentinels know the master, or there is exactly one.
adopt() {
  ask_sentinels
  if [ -z "$named" ]; then
    # shellcheck disable=SC2086 -- a list of names
    ask_servers $REDIS_HOSTS
    if ! is_one "$masters"; then return; fi
    named=$masters
  fi
  if [ "$(sentinel MONITOR "$SENTINEL_MASTER" "$named" "$REDIS_PORT" "$quorum")" = OK ]; then say "$named is the master"; fi
}

# What the file says where there is one.
configure() {
  answer=$(printf %s "$REDISCLI_AUTH" |
    timeout 2 redis-cli ${REDIS_TLS:+--tls --cacert "$REDIS_TLS/ca.crt"} --no-auth-warning -h "$self" -p "$SENTINEL_PORT" -x SENTINEL SET "$SENTINEL_MASTER" auth-pass 2>&1)
  # shellcheck disable=SC2086 -- pairs of words
  [ "$answer" = OK ] && [ "$(sentinel SET "$SENTINEL_MASTER" $options)" = OK ]
}

# Beside Sentinel, and as long as it: this shell's number becomes Sentinel's.
watch() {
  if ! grep -q "^sentinel monitor" "$conf"; then
    until grep -q "^sentinel monitor" "$conf" && configure; do
      sleep 1
      if ! kill -0 "$1" 2>/dev/null; then return; fi
      adopt
    done
  fi
  while kill -0 "$1" 2>/dev/null; do
    # A second is the unit here: what was written within the same one is copied once more.
    if [ ! "$known" -nt "$conf" ]; then keep "$conf"; fi
    # Sentinel cannot be told to read it anew. One after the other, so that a majority stays.
    if [ "$(certificate)" != "$started" ]; then
      sleep $((number * 10))
      say "the certificate was renewed: starting again"
      kill "$1"
      return
    fi
    sleep 1
  done
}
watch $$ &
exec redis-sentinel "$conf"
