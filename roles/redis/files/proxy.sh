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
exec haproxy -q -db -f "$PROXY_SETTINGS"
