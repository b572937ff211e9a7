#!/bin/sh
# A PostgreSQL 15 server of one's own, for tests: in one folder, on one unix socket and one port of loopback, owned by an
# unprivileged user.
#
#   postgres.sh start DIR    installs the server where it is missing, starts it, and prints its URL as the only line on stdout.
#                            DIR/tls.url then holds the URL of the same server over TLS, DIR/server.crt what to trust.
#   postgres.sh stop DIR     ends the server that was started there, by its own pid
#
# DIR is made when it is missing. Remove it after `stop`.
set -eu

BIN=/usr/lib/postgresql/15/bin
USER_NAME=postgres

say() {
    echo "postgres.sh: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

install_server() {
    [ -x "$BIN/postgres" ] && return
    command -v apt-get >/dev/null || fail "PostgreSQL 15 is not in $BIN, and there is no apt-get to install it: install it by hand"
    [ "$(id -u)" -eq 0 ] || fail "PostgreSQL 15 is not in $BIN: run 'apt-get install postgresql-15' as root first"
    say "installing postgresql-15"
    # No cluster of the machine's own: the package would start one.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends postgresql-15; } >&2
    [ -x "$BIN/postgres" ] || fail "postgresql-15 was installed, but $BIN/postgres is not there"
}

# The server refuses to run as root.
unprivileged() {
    if [ "$(id -u)" -eq 0 ]; then
        runuser -u "$USER_NAME" -- "$@"
    else
        "$@"
    fi
}

# Root's files, and the folder that everything lies in, belong to the server's user.
prepare() {
    mkdir -p "$DIR"
    DIR=$(cd "$DIR" && pwd)
    chmod 700 "$DIR"
    [ "$(id -u)" -eq 0 ] || return 0
    id "$USER_NAME" >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin "$USER_NAME"
    chown "$USER_NAME" "$DIR"
    unprivileged test -w "$DIR" || fail "$DIR cannot be reached by the user $USER_NAME: choose a folder under /tmp"
}

start() {
    install_server
    prepare
    if [ -f "$DIR/data/postmaster.pid" ] && unprivileged "$BIN/pg_ctl" -D "$DIR/data" status >/dev/null 2>&1; then
        fail "a server runs in $DIR already"
    fi
    if [ ! -d "$DIR/data" ]; then
        unprivileged "$BIN/initdb" -D "$DIR/data" -U bailiwick -A trust -E UTF8 --locale=C >"$DIR/initdb.log" 2>&1 ||
            fail "initdb failed: see $DIR/initdb.log"
    fi
    # A unix socket's path has at most 107 bytes.
    SOCKETS=$DIR
    if [ ${#SOCKETS} -gt 80 ]; then
        SOCKETS=$(unprivileged mktemp -d /tmp/bailiwick-pg.XXXXXX)
    fi
    echo "$SOCKETS" >"$DIR/sockets"
    certify
    # A port may be taken by then: another one is tried.
    for _attempt in 1 2 3 4 5; do
        PORT=$(shuf -i 40000-59999 -n 1)
        if unprivileged "$BIN/pg_ctl" -D "$DIR/data" -l "$DIR/server.log" -w -t 60 start \
            -o "-c listen_addresses=127.0.0.1 -c unix_socket_directories='$SOCKETS' -c port=$PORT -c max_connections=300 \
                -c ssl=on -c ssl_cert_file='$DIR/server.crt' -c ssl_key_file='$DIR/server.key'" >/dev/null; then
            echo "postgres://bailiwick@localhost:$PORT/postgres" >"$DIR/tls.url"
            echo "postgres://bailiwick@localhost:$PORT/postgres?host=$(echo "$SOCKETS" | sed 's|%|%25|g; s|/|%2F|g; s| |%20|g')"
            return
        fi
    done
    fail "the server did not start: see $DIR/server.log"
}

# A certificate that the server signs for itself, for the name localhost.
certify() {
    [ -f "$DIR/server.crt" ] && return
    printf '%s\n' '[req]' 'distinguished_name = name' 'x509_extensions = leaf' 'prompt = no' '[name]' 'CN = localhost' \
        '[leaf]' 'basicConstraints = critical, CA:FALSE' 'subjectAltName = DNS:localhost' >"$DIR/openssl.cnf"
    unprivileged openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -config "$DIR/openssl.cnf" \
        -keyout "$DIR/server.key" -out "$DIR/server.crt" 2>"$DIR/openssl.log" || fail "openssl failed: see $DIR/openssl.log"
    unprivileged chmod 600 "$DIR/server.key"
}

stop() {
    [ -f "$DIR/data/postmaster.pid" ] || return 0
    DIR=$(cd "$DIR" && pwd)
    # pg_ctl reads the pid from this folder's own file.
    unprivileged "$BIN/pg_ctl" -D "$DIR/data" -m fast -w -t 60 stop >/dev/null ||
        fail "the server in $DIR did not stop"
    SOCKETS=$(cat "$DIR/sockets" 2>/dev/null || echo "$DIR")
    case $SOCKETS in
    /tmp/bailiwick-pg.*) rmdir "$SOCKETS" 2>/dev/null || true ;;
    esac
}

[ $# -eq 2 ] || fail "usage: postgres.sh start|stop DIR"
DIR=$2
case $1 in
start) start ;;
stop) stop ;;
*) fail "usage: postgres.sh start|stop DIR" ;;
esac
