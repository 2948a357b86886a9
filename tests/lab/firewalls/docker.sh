# A real dockerd with two networks, containers, and a published port.
. /tmp/world.sh
group=$1
build
start_docker() {
  dockerd --cgroup-parent "/$group" --ipv6 --fixed-cidr-v6 fd00:d::/64 --experimental --ip6tables >> w/dockerd.log 2>&1 & dockerd=$!
  soon docker version
}
up() { for one in "$@"; do soon docker exec "$one" /bin/sh -c :; done; sleep 0.5; }
again() { kill "-$1" "$dockerd"; wait "$dockerd" 2> /dev/null || true; sleep 0.3; rm -f /run/docker.pid; start_docker; up c1 c2; }
start_docker
mkdir -p w/image/bin; cp /usr/bin/busybox w/image/bin/; for program in sh sleep nslookup httpd cat; do ln -s busybox w/image/bin/$program; done
tar -C w/image -c . | docker import - box > /dev/null
run() { local one=$1; shift; docker run -d --stop-timeout 1 --name "$one" --restart always "$@" > /dev/null; }
docker network create n1 > /dev/null
run c1 -p 8080:80 box /bin/sh -c 'echo hello > /hello; /bin/httpd -f -h /'
run c2 --network n1 box /bin/sleep 10000
# Somebody on Docker's bridge who is no container, and stays while Docker is restarted.
ip netns add att; ip link add a0 type veth peer name a1; ip link set a1 netns att; ip link set a0 master docker0 up
ip -n att link set lo up; ip -n att addr add 172.17.0.200/16 dev a1; ip -n att addr add fd00:d::200/64 dev a1 nodad; ip -n att link set a1 up
ip -n att route add default via 172.17.0.1; ip -n att route add default via fd00:d::1
in_container() { local one=$1; shift; nsenter -t "$(docker inspect -f '{{.State.Pid}}' "$one")" -n "$@"; }
ways() {
  begin_round
  for how in +notcp +tcp; do
    asked_both host
    asked "on docker0, 8.8.8.8 $how" ip netns exec att $dig @8.8.8.8 LABEL.example $how
    asked_both "container on docker0" in_container c1
    asked "container on a network of its own, the router $how" in_container c2 $dig @192.168.77.1 LABEL.example $how
  done
  asked "container's nslookup" docker exec c1 /bin/nslookup LABEL.example
  asked "container's nslookup by Docker's own resolver" docker exec c2 /bin/nslookup LABEL.example
}
works() {
  local nat published
  nat=$(in_container c1 timeout 3 bash -c "exec 3<>/dev/tcp/$outside/80; read -r who <&3; echo \$who" 2>&1 || true)
  published=$(out timeout 3 bash -c 'exec 3<>/dev/tcp/192.168.77.50/8080; printf "GET /hello HTTP/1.0\r\n\r\n" >&3; tail -1 <&3' 2>&1 || true)
  [ "$nat|$published" = "192.168.77.50|hello" ] || fail "$1: NAT: $nat, published port: $published"
}
up c1 c2
works before; ways; judged leaks "without the guard"
# Docker by itself makes its rules anew in this order.
again TERM; rules=$(anew) before=$(theirs)

guarded '"172.17.0.1:53"' '"172.16.0.0/12"'
same "Docker's rules with the guard on" "$before" "$(theirs)"
table=$(ours)
# Served at docker0 over IPv4; whoever is not is refused.
led="tacenda tacenda tacenda tacenda nobody nobody"
works on; ways; judged holds "with the guard" "$led $led tacenda nobody"
saved
for how in TERM KILL; do flooded att "Docker ended by SIG$how and started" again $how; same "Docker's rules after that" "$rules" "$(anew)"; done
works restarted; ways; judged holds "after Docker's restarts" "$led $led tacenda nobody"
docker network create n2 > /dev/null; run c3 --network n2 box /bin/sleep 1000
begin_round; asked "container on a network made just now" in_container c3 $dig @8.8.8.8 LABEL.example; judged holds "docker network create" nobody
docker rm -f c3 > /dev/null; docker network rm n2 > /dev/null; sleep 0.3; same "tacenda's rules when it is gone" "$table" "$(ours)"
nft flush ruleset; same "tacenda's rules after \`nft flush ruleset\`" "$table" "$(ours)"
again TERM; same "Docker's rules after that and its restart" "$rules" "$(anew)"

# A container that is a DNS server, for its neighbours and at a published port: by consent.
run server box /bin/sleep 10000; run published --network n1 -p 192.168.77.50:53:53/udp -p 192.168.77.50:53:53/tcp box /bin/sleep 10000
local_server=203.0.113.44
for one in server published; do in_container $one dnsmasq -k --no-resolv --no-hosts --user=root --pid-file --conf-file=/dev/null --address=/#/$local_server & pids+=($!); done
server=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' server) published=$(docker inspect -f '{{.NetworkSettings.Networks.n1.IPAddress}}' published)
containers() {
  begin_round
  for how in +notcp +tcp; do
    asked "a neighbour of it $how" in_container c1 $dig "@$server" LABEL.example $how
    asked "the host $how" $dig "@$server" LABEL.example $how
    asked "the host, at the published port $how" $dig @192.168.77.50 LABEL.example $how
    asked "from outside, at the published port $how" ip netns exec out $dig @192.168.77.50 LABEL.example $how
  done
}
soon in_container server dig +tries=1 +time=1 @127.0.0.1 x.example
containers; judged holds "a container's DNS server, not exempt" "tacenda tacenda nobody nobody tacenda tacenda nobody nobody"
printf '[guard]\nexempt = ["udp://%s:53", "tcp://%s:53", "udp://%s:53", "tcp://%s:53"]\n' "$server" "$server" "$published" "$published" >> /etc/tacenda/tacenda.toml
soon sh -c "nft list set inet tacenda exempt4 | grep -q $server"
its=$(printf 'the container %.0s' 1 2 3 4 5 6 7 8)
containers; judged holds "a container's DNS server, exempt" "${its% }"
docker rm -f server published > /dev/null
sed -i '/^\[guard\]/,$d' /etc/tacenda/tacenda.toml; soon sh -c "! nft list set inet tacenda exempt4 | grep -q $server"

unguarded
works off; ways; judged leaks "after \`guard off\`"
docker rm -f c1 c2 > /dev/null; kill "$dockerd"; wait "$dockerd" 2> /dev/null || true
end Docker
