#!/bin/sh
# Ready is who has all the data: a master that has loaded it, a replica that is in step with its master.
info=$(timeout 3 redis-cli --no-auth-warning -h "$POD_IP" -p "$REDIS_PORT" INFO 2>&1 </dev/null)
has() { printf '%s\n' "$info" | grep -q "^$1"; }
if ! has loading:0; then
  echo "Redis is loading its data, or does not answer"
  exit 1
fi
if has role:master || has master_link_status:up; then exit 0; fi
echo "this replica has no link to its master"
exit 1
