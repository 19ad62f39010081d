#!/bin/sh
# Puts the password into the form in which HAProxy sends it, and becomes HAProxy.
set -eu
# The command in Redis' own protocol, where lengths stand before words, and all of it in hexadecimal: nothing in the
# password means anything to HAProxy's parser.
REDIS_LOGIN=$(
  printf '*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n' "$(printf %s "$REDISCLI_AUTH" | wc -c)" "$REDISCLI_AUTH" | od -An -v -tx1 | tr -d ' \n'
)
export REDIS_LOGIN
unset REDISCLI_AUTH
# HAProxy reads the authority's certificate once. One proxy after the other; this shell's number becomes HAProxy's.
if [ -n "${REDIS_TLS:-}" ]; then
  started=$(cat "$REDIS_TLS/ca.crt") pause=$(od -An -N1 -tu1 /dev/urandom)
  while sleep 5 && kill -0 $$ 2>/dev/null; do
    if [ "$(cat "$REDIS_TLS/ca.crt")" != "$started" ]; then
      sleep $((pause / 8))
      kill $$
      exit
    fi
  done &
fi
exec haproxy -q -db -f "$PROXY_SETTINGS"
