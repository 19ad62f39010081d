#!/bin/sh
# Ready is who has all the data: a master that has loaded it, a replica that is in step with its master.
#
# What Sentinel may promote follows from it: who is in step, and who has been without a master for so long that none will
# come back. Of those the lowest number goes first.
if [ -e "$REDIS_RUN/waiting" ]; then
  cat "$REDIS_RUN/waiting"
  exit 1
fi
# at SECONDS HOST COMMAND...
at() {
  seconds=$1 host=$2
  shift 2
  timeout "$seconds" redis-cli ${REDIS_TLS:+--tls --insecure} --no-auth-warning -h "$host" -p "$REDIS_PORT" "$@" 2>&1 </dev/null
}
cli() { at 3 "$POD_IP" "$@"; }
info=$(cli INFO)
has() { printf '%s\n' "$info" | grep -q "^$1"; }
number() { printf '%s\n' "$info" | tr -d '\r' | sed -n "s/^$1://p"; }
in_step=$REDIS_DATA/in-step

# The server reads its certificate once. Where it was renewed, the kubelet has replaced all three files in one step.
if [ -n "${REDIS_TLS:-}" ]; then
  certificate=$(cat "$REDIS_TLS/tls.crt" "$REDIS_TLS/ca.crt")
  if [ "$certificate" != "$(cat "$REDIS_RUN/certificate")" ] &&
    [ "$(cli CONFIG SET tls-cert-file "$REDIS_TLS/tls.crt" tls-key-file "$REDIS_TLS/tls.key" tls-ca-cert-file "$REDIS_TLS/ca.crt")" = OK ]; then
    printf '%s\n' "$certificate" >"$REDIS_RUN/certificate"
  fi
fi

if has loading:1; then
  echo "Redis is loading its data"
  exit 1
fi
if ! has loading:0; then
  # In its own words, where it has any: that it has no room for one more client shows nowhere else.
  echo "Redis does not answer: $(printf '%s\n' "$info" | head -n 1)"
  exit 1
fi
if has role:master || has master_link_status:up; then
  date +%s >"$in_step"
  # Among these Sentinel compares offsets.
  if has slave_priority: && ! has slave_priority:100; then cli CONFIG SET replica-priority 100; fi
  exit 0
fi
echo "this replica has no link to its master"
# Who was in step last goes first. Offsets would not tell: each start of a master with an AOF begins to count from 0 anew.
# Each replica says when that was in the title of its process, and leaves the way to one that was in step later.
awaited() {
  for server in $REDIS_HOSTS; do
    if at 1 "$server" INFO replication | grep -q '^slave_priority:0'; then
      theirs=$(at 1 "$server" CONFIG GET proc-title-template | sed -n 's/.* in step //p')
      if [ "${theirs:-0}" -lt "$mine" ]; then return 0; fi
    fi
  done
  return 1
}
if has slave_priority:0; then
  mine=$((2000000000 - $(cat "$in_step" 2>/dev/null || echo 0) / 10))
  # Without data there is nothing to promote.
  if [ "$(cat "$REDIS_RUN/own")" = none ]; then mine=2000000000; fi
  cli CONFIG SET proc-title-template "{title} {listen-addr} {server-mode} in step $mine" >/dev/null
  up=$(number uptime_in_seconds)
  if [ "$mine" -lt 2000000000 ] && [ "$up" -ge "$REDIS_PATIENCE" ] && { [ "$up" -ge $((2 * REDIS_PATIENCE)) ] || ! awaited; }; then
    cli CONFIG SET replica-priority "$mine"
  fi
fi
exit 1
