# A throw-away site on loopback for the scripts beside this file: imapd.conf files, our programs, Cyrus's programs.
# Sourced, not run. Everything is below one directory in /tmp, and everything started is ended by its id.

cyrus_programs=/usr/lib/cyrus/bin
# Debian's own first: Cyrus's user must be able to run what is found.
PATH=/usr/sbin:/usr/bin:/bin:$PATH
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
    echo "FAIL $*" >&2
    [ -z "${site:-}" ] || [ ! -e "$site/out" ] || sed "s|$site|<site>|g" "$site/out" >&2
    exit 1
}

# Where our programs are: MUPDATE_BIN_DIR, else what `cargo build --features mupdated/sasl-cyrus` has made.
find_programs() {
    local directory=${MUPDATE_BIN_DIR:-${CARGO_TARGET_DIR:-$here/../../target}/debug}
    [ -x "$directory/mupdate" ] || die "no mupdate in $directory: cargo build -p mupdated --features sasl-cyrus"
    cp "$directory/mupdate" "$directory/mupdatectl" "$site/bin/"
}

need() {
    local program
    for program; do
        command -v "$program" >/dev/null || die "no $program: see the packages at the head of $0"
    done
}

begin() {
    site=$(mktemp -d /tmp/mli.XXXXXX)
    chmod 755 "$site"
    mkdir "$site/bin"
    started=()
    trap finish EXIT
    find_programs
    if [ "$(id -u)" = 0 ]; then
        account=cyrus group=$(id -gn cyrus)
        as_cyrus=(setpriv --reuid "$account" --regid "$group" --init-groups)
    else
        account=$(id -un) group=$(id -gn) as_cyrus=()
    fi
}

finish() {
    local id
    for id in "${started[@]}"; do
        # A group of its own each, see `start`.
        kill -TERM -- "-$id" 2>/dev/null || true
    done
    for id in "${started[@]}"; do wait "$id" 2>/dev/null || true; done
    [ -n "${KEEP:-}" ] || rm -rf "$site"
}

own() { if [ "$(id -u)" = 0 ]; then chown -R "$account:$group" "$@"; fi; }

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# node NAME, further lines of imapd.conf from standard input
node() {
    local directory=$site/$1 name
    for name in db socket proc lock log msg user quota sieve tmp backup; do mkdir -p "$directory/conf/$name"; done
    mkdir -p "$directory/spool"
    {
        cat <<EOF
configdirectory: $directory/conf
defaultpartition: default
partition-default: $directory/spool
temp_path: $directory/conf/tmp
proc_path: $directory/conf/proc
mboxname_lockpath: $directory/conf/lock
sievedir: $directory/conf/sieve
cyrus_user: $account
cyrus_group: $group
admins: mupd
allowplaintext: yes
EOF
        cat
    } >"$directory/imapd.conf"
    own "$directory"
}

# start NAME COMMAND…: in the background, in a process group of its own, with its output in NAME.log
start() {
    local name=$1
    shift
    setsid "$@" >"$site/$name.log" 2>&1 </dev/null &
    started+=($!)
    last=$!
}

# stop ID
stop() {
    kill -TERM -- "-$1"
    wait "$1" 2>/dev/null || true
}

# greets PORT: waits for the banner
greets() {
    local try
    for try in $(seq 100); do
        if banner "$1" | grep -q '^\* OK MUPDATE'; then return; fi
        sleep 0.1
    done
    for try in "$site"/*.log; do echo "-- $try"; tail -20 "$try"; done >&2
    die "no greeting on port $1"
}

banner() {
    python3 - "$1" <<'EOF'
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1) as s:
        text = b""
        while b"* OK" not in text:
            piece = s.recv(4096)
            if not piece:
                break
            text += piece
        sys.stdout.write(text.decode())
except OSError:
    pass
EOF
}

# fill NODE MAILBOX: a mailboxes.db with one mailbox of its own
fill() {
    local conf=$site/$1/imapd.conf
    "${as_cyrus[@]}" $cyrus_programs/ctl_cyrusdb -C "$conf" -r
    "${as_cyrus[@]}" $cyrus_programs/ctl_mboxlist -C "$conf" -u <<EOF
{"$2": {"name": "$2", "mtime": "1700000000", "uidvalidity": "1700000000", "createdmodseq": "1", "foldermodseq": "1",
 "mbtype": "e", "partition": "default", "acl": {"ann": "lrswipkxtecda"}, "uniqueid": "unique000000000000000001",
 "name_history": []}}
EOF
}

# What SASL says in base64, which has passwords in it, and what is the same each time.
dull='^([CS]: )?[A-Za-z0-9+/]{12,}={0,2}$|^[CS]: *$|^S: \* (COMPRESS|PARTIAL-UPDATE|RESYNC)|^C: Q01|^Connection closed'

# show COMMAND…: runs it as Cyrus's user, prints command and output as the documentation has them
show() {
    local words="$*"
    words=${words//"$cyrus_programs/"/}
    words=${words//"$site/bin/"/}
    printf '$ %s\n' "${words//"$site"/<site>}"
    "${as_cyrus[@]}" "$@" >"$site/out" 2>&1 </dev/stdin || true
    tr -d '\r' <"$site/out" | sed "s|$site|<site>|g" |
        { grep -avE "$dull" || true; } | cut -c1-150
    echo
}

# What the last command said, or must not have said.
expect() { grep -aqF -- "$1" "$site/out" || die "not said: $1"; }
refuse() { if grep -aqF -- "$1" "$site/out"; then die "said: $1"; fi; }

say() { printf '# %s\n' "$*"; }
