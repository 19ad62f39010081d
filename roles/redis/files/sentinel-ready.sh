#!/bin/sh
# Ready is who watches over a master.
answer=$(timeout 3 redis-cli ${REDIS_TLS:+--tls --insecure} --no-auth-warning -h "$POD_IP" -p "$SENTINEL_PORT" SENTINEL GET-MASTER-ADDR-BY-NAME "$SENTINEL_MASTER" 2>&1 </dev/null)
case $answer in
  *"
$REDIS_PORT") exit 0 ;;
esac
echo "this Sentinel watches over no master: $answer"
exit 1
