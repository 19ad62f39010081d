# What the scripts of Redis and Sentinel share. REDIS_HOSTS and SENTINEL_HOSTS list the names of all pods by number; the
# password comes as REDISCLI_AUTH, which redis-cli reads too. REDIS_TLS is the folder of the certificate, where there is one.
# shellcheck shell=sh

say() { echo "${0##*/}: $*" >&2; }

# This pod's own name, by the number at the end of POD_NAME; the others are $peers, the first of all is $first.
find_self() {
  number=${POD_NAME##*-} first=$1 self='' peers=''
  for host in "$@"; do
    if [ "$number" -eq 0 ]; then self=$host; else peers="$peers $host"; fi
    number=$((number - 1))
  done
  number=${POD_NAME##*-}
}

# In hexadecimal a password means itself to the parser, whatever quotes, backslashes or blanks are in it.
escaped() { printf %s "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /\\x/g'; }

# ask HOST PORT COMMAND...: the answer, or what kept it away.
ask() {
  host=$1 port=$2
  shift 2
  timeout 3 redis-cli ${REDIS_TLS:+--tls --cacert "$REDIS_TLS/ca.crt"} --no-auth-warning -h "$host" -p "$port" "$@" 2>&1 </dev/null || true
}

# The settings of a server on this port.
listen() {
  if [ -z "${REDIS_TLS:-}" ]; then
    echo "port $1"
    return
  fi
  echo "port 0"
  echo "tls-port $1"
  echo "tls-cert-file $REDIS_TLS/tls.crt"
  echo "tls-key-file $REDIS_TLS/tls.key"
  echo "tls-ca-cert-file $REDIS_TLS/ca.crt"
  # The password says who a client is.
  echo "tls-auth-clients no"
  # Connections to other servers, of Sentinels too.
  echo "tls-replication yes"
}

# Changes when the certificate was renewed; empty without TLS.
certificate() { if [ -n "${REDIS_TLS:-}" ]; then cat "$REDIS_TLS/tls.crt" "$REDIS_TLS/ca.crt"; fi; }

field() { printf '%s\n' "$said" | sed -n "/^$1\$/{n;p;q;}"; }

# What the Sentinels say: how many are $knowing a master and how many answer but are $idle; the one $named with the
# highest configuration epoch, which is the newest; whether it is $doubted.
ask_sentinels() {
  named='' epoch=-1 knowing=0 idle=0 doubted=''
  for sentinel in $SENTINEL_HOSTS; do
    said=$(ask "$sentinel" "$SENTINEL_PORT" SENTINEL MASTER "$SENTINEL_MASTER")
    case $said in
      *"No such master"*) idle=$((idle + 1)) ;;
      *config-epoch*)
        knowing=$((knowing + 1))
        if [ "$(field config-epoch)" -gt "$epoch" ]; then epoch=$(field config-epoch) named=$(field ip); fi
        case $(field flags) in *s_down* | *o_down* | *failover*) doubted=yes ;; esac
        ;;
    esac
  done
}

# What other servers say of themselves: who are $masters, who is $holding data, who are $heirs, having been in step with
# the master, and who is $silent.
ask_servers() {
  masters='' holding='' heirs='' silent=''
  for server in "$@"; do
    said=$(ask "$server" "$REDIS_PORT" INFO)
    case $said in
      *role:master*) masters="$masters $server" ;;
      *role:*) ;;
      *) silent="$silent $server" ;;
    esac
    case $said in *loading:1* | *:keys=*) holding="$holding $server" ;; esac
    case $said in *slave_priority:100*) heirs="$heirs $server" ;; esac
  done
  masters=${masters# } holding=${holding# } heirs=${heirs# } silent=${silent# }
}

is_one() { case $1 in '' | *' '*) return 1 ;; esac; }
