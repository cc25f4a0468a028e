#!/bin/bash
# Makes a capture like curl-nginx.pcap: curl clients of four addresses talk to nginx at 192.168.1.10:80.
#
#   sudo scenarios/capture/make-capture.sh [FILE]        (default: curl-nginx.pcap in the current folder)
#
# Needs root, ip, ethtool, ping, nginx, curl (7.84 or newer) and tcpdump. Everything happens in two network
# namespaces of its own, which are removed on exit; the host's interfaces are not touched. Takes about five seconds.
set -euo pipefail

output=${1:-curl-nginx.pcap}
client=lbsim-client-$$
server=lbsim-server-$$
address=192.168.1.10
made=()      # namespaces
started=()   # process ids
work=$(mktemp -d)

clean_up() {
    trap - EXIT INT TERM
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    for namespace in "${made[@]}"; do ip netns del "$namespace" || true; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for tool in ip ethtool ping nginx curl tcpdump; do
    command -v "$tool" > /dev/null || { echo "make-capture.sh: $tool is missing" >&2; exit 1; }
done

# A process must replace its subshell, so that the id that is killed at the end is its own.
in_client() { exec ip netns exec "$client" "$@"; }
in_server() { exec ip netns exec "$server" "$@"; }

wait_for() {  # wait_for WHAT COMMAND...: at most five seconds
    local what=$1; shift
    for _ in $(seq 50); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
    echo "make-capture.sh: $what did not start" >&2
    exit 1
}

# --- two namespaces, one cable ------------------------------------------------------------------------------------
ip netns add "$client"; made+=("$client")
ip netns add "$server"; made+=("$server")
for namespace in "$client" "$server"; do
    # No router solicitations: IPv6 is not part of this capture.
    (exec ip netns exec "$namespace" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1)
done
# Hardware addresses of the documentation range (RFC 7042).
ip -n "$client" link add name eth0 address 00:00:5e:00:53:01 type veth \
    peer name eth0 netns "$server" address 00:00:5e:00:53:10
for namespace in "$client" "$server"; do
    # Without this the kernel leaves checksums to a network card that does not exist, and hands over packets larger
    # than the MTU: the capture would show packets that no wire has seen.
    (exec ip netns exec "$namespace" ethtool -K eth0 tx off tso off gso off gro off > /dev/null)
    ip -n "$namespace" link set eth0 up
done
for host in 1 2 3 4; do ip -n "$client" addr add 203.0.113.$host/24 dev eth0; done
ip -n "$client" route add 192.168.1.0/24 dev eth0
ip -n "$server" addr add "$address/24" dev eth0
ip -n "$server" route add 203.0.113.0/24 dev eth0

# --- the web server -----------------------------------------------------------------------------------------------
mkdir "$work/www"
head -c 100 /dev/zero | tr '\0' 's' > "$work/www/small"
head -c 1250 /dev/zero | tr '\0' 'p' > "$work/www/page"
head -c 1200 /dev/zero | tr '\0' 't' > "$work/www/trickle"
cat > "$work/nginx.conf" <<END
daemon off;
user root;
worker_processes 1;
pid $work/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path $work/body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    keepalive_timeout 5s;
    reset_timedout_connection on;
    server {
        listen $address:80;
        root $work/www;
        location /trickle { limit_rate 400; }
        location /reset { return 444; }
    }
}
END
(in_server timeout 60 nginx -p "$work" -c "$work/nginx.conf" -e stderr) & started+=($!)
wait_for nginx test -s "$work/nginx.pid"

# --- the capture: whole frames, so that it can be sent again -------------------------------------------------------
(in_server timeout 60 tcpdump -Z root -i eth0 -U --immediate-mode -w "$work/capture" 2> "$work/tcpdump.log") &
tcpdump=$!; started+=("$tcpdump")
wait_for tcpdump grep -q listening "$work/tcpdump.log"

# --- the traffic --------------------------------------------------------------------------------------------------
get() {  # get HOST [OPTIONS] PATH...: as client 203.0.113.HOST, all paths over one connection
    local host=$1 options=() urls=(); shift
    while [[ ${1-} == -* ]]; do options+=("$1" "$2"); shift 2; done
    for path in "$@"; do urls+=("http://$address/$path" -o /dev/null); done
    (in_client curl --silent --max-time 15 --interface "203.0.113.$host" "${options[@]}" "${urls[@]}")
}

(in_client ping -q -c 1 -W 2 -I 203.0.113.1 "$address" > /dev/null)
gets=()
for host in 1 2 3 4; do get $host small; sleep 0.05; done                              # one request each
for host in 1 2 3 4; do                                                                # three, 0.5 s apart
    get $host --rate 2/s small page small & gets+=($!); sleep 0.05
done
for host in 4 3 2 1; do get $host -H "Connection: close" page; sleep 0.1; done         # the server closes
get 2 trickle & gets+=($!); sleep 0.1                                                  # a slow download
get 3 reset || true; sleep 0.1                                                         # the server resets
get 1 page; sleep 0.1
get 4 small page; sleep 0.1                                                            # two, at once
for host in 1 1 2 1; do get $host page & gets+=($!); done                              # four at the same time
for pid in "${gets[@]}"; do wait "$pid"; done
sleep 0.5

kill -INT "$tcpdump"
wait "$tcpdump" || true
grep -q '^0 packets dropped by kernel' "$work/tcpdump.log" || { cat "$work/tcpdump.log" >&2; exit 1; }
cp "$work/capture" "$output"
echo "$output: $(stat -c %s "$output") bytes"
