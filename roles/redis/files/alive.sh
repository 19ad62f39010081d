#!/bin/sh
# Alive is whoever answers: a server that loads its data, waits for its master, runs a long script or has no room for
# one more client must not be killed.
# So is one that start.sh still keeps from starting.
if [ -e "$REDIS_RUN/waiting" ]; then exit 0; fi
# Whether the certificate still holds is no question here.
answer=$(timeout 3 redis-cli ${REDIS_TLS:+--tls --insecure} --no-auth-warning -h "$POD_IP" -p "$REDIS_PORT" PING 2>&1 </dev/null)
case $answer in
  PONG | *LOADING* | *MASTERDOWN* | *BUSY* | *NOAUTH* | *WRONGPASS* | *MISCONF* | *"max number of clients"*) exit 0 ;;
esac
echo "no answer from Redis: $answer"
exit 1
