"""A hotel, its ISP and the net behind it, in network namespaces; this process stands in the client, a machine of its own.

    ctr -- k0 [client] h0 --- hotel --- isp --- net (DoH and DoT resolver, strangers' resolvers, portal probes)
                    \\--h1 --- cafe --/      \\--- vpn (OpenVPN)

Hotel and strangers answer every name (203.0.113.66, .67), so that a leak works and is not hidden by a failure; the trusted resolver says
203.0.113.80.
"""
import os, signal, subprocess, sys, time
import canary

HOTEL, STRANGER, CAFE, VPN, TRUSTED = (f"203.0.113.{n}" for n in (66, 67, 68, 69, 80))
GUARDED = {53, 137, 138, 853, 5353, 5355}

def sh(command, check=True, timeout=30, **more):
    done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=timeout, **more)
    if check and done.returncode:
        raise Failed(f"`{command}` ended with {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
    return done

class Failed(Exception):
    pass

def until(what, is_so, seconds=10, step=0.05):
    """Waits until it is so; never longer."""
    end = time.time() + seconds
    while time.time() < end:
        value = is_so()
        if value:
            return value
        time.sleep(step)
    raise Failed(f"not within {seconds} s: {what}")

class World:
    def __init__(self, tacenda, certs, work):
        self.tacenda, self.certs, self.work, self.processes, self.captures = tacenda, certs, work, [], {}
        self.stub = self.openvpn = None
        self.recoveries = []

    # --- the net -----------------------------------------------------------------------------------------------------------------
    def link(self, here, device, addresses, there, peer, peers):
        at = lambda ns: ["ip"] if ns is None else ["ip", "-n", ns]
        sh(["ip", "link", "add", device, "type", "veth", "peer", "name", peer] if here is None else
           ["ip", "-n", here, "link", "add", device, "type", "veth", "peer", "name", peer])
        sh(at(here) + ["link", "set", peer, "netns", there])
        for ns, dev, own in ((here, device, addresses), (there, peer, peers)):
            for address in own:
                sh(at(ns) + ["addr", "add", address, "dev", dev] + (["nodad"] if ":" in address else []))
            sh(at(ns) + ["link", "set", dev, "up"])

    def build(self):
        sh("ip link set lo up")
        for ns in ("ctr", "hotel", "cafe", "isp", "net", "vpn"):
            sh(["ip", "netns", "add", ns])
            sh(["ip", "-n", ns, "link", "set", "lo", "up"])
            sh(["ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
        self.link(None, "h0", ["192.168.77.50/24", "fd77::50/64"], "hotel", "r0", ["192.168.77.1/24", "fd77::1/64", "fe80::77/64"])
        self.link(None, "k0", ["10.77.0.1/24", "fd78::1/64"], "ctr", "c0", ["10.77.0.2/24", "fd78::2/64"])
        self.link(None, "h1", ["192.168.88.50/24", "fd88::50/64"], "cafe", "r1", ["192.168.88.1/24", "fd88::1/64"])
        self.link("hotel", "i0", ["198.51.100.1/30", "fd79::1/64"], "isp", "i1", ["198.51.100.2/30", "fd79::2/64"])
        self.link("cafe", "i2", ["198.51.100.5/30", "fd7a::1/64"], "isp", "i3", ["198.51.100.6/30", "fd7a::2/64"])
        self.link("isp", "n0", ["198.51.100.9/30", "fd7b::1/64"], "net", "n1", ["198.51.100.10/30", "fd7b::2/64"])
        self.link("isp", "v0", ["198.51.100.13/30", "fd7c::1/64"], "vpn", "v1", ["198.51.100.14/30", "fd7c::2/64"])
        for address in ("192.0.2.1/32", "8.8.8.8/32", "192.0.2.9/32", "2001:4860:4860::8888/128", "2001:db8:2::1/128"):
            sh(["ip", "-n", "net", "addr", "add", address, "dev", "lo"])
        route = lambda ns, *words: sh(["ip"] + ([] if ns is None else ["-n", ns]) + ["route", "add", *words])
        for v4, v6, ns in (("192.168.77.1", "fd77::1", None), ("10.77.0.1", "fd78::1", "ctr"), ("198.51.100.2", "fd79::2", "hotel"),
                           ("198.51.100.6", "fd7a::2", "cafe"), ("198.51.100.9", "fd7b::1", "net"), ("198.51.100.13", "fd7c::1", "vpn")):
            route(ns, "default", "via", v4)
            route(ns, "default", "via", v6)
        for net4, net6, via4, via6 in (("192.168.77.0/24", "fd77::/64", "198.51.100.1", "fd79::1"), ("10.77.0.0/24", "fd78::/64", "198.51.100.1", "fd79::1"),
                                       ("192.168.88.0/24", "fd88::/64", "198.51.100.5", "fd7a::1")):
            route("isp", net4, "via", via4)
            route("isp", net6, "via", via6)
        for target in ("192.0.2.0/24", "8.8.8.8/32"):
            route("isp", target, "via", "198.51.100.10")
        for target in ("2001:4860:4860::8888/128", "2001:db8:2::/64"):
            route("isp", target, "via", "fd7b::2")
        route("hotel", "10.77.0.0/24", "via", "192.168.77.50")
        route("hotel", "fd78::/64", "via", "fd77::50")

    def servers(self):
        self.hotel = self.dnsmasq("hotel", "r0", ["192.168.77.1", "fd77::1", "fe80::77%r0"], HOTEL, [
            "--dhcp-range=192.168.77.50,192.168.77.90,2m", "--dhcp-range=fd77::100,fd77::200,64,2m", "--enable-ra", "--dhcp-leasefile=" + self.work + "/leases",
            "--dhcp-option=6,192.168.77.1", "--dhcp-option=option6:dns-server,[fd77::1]", "--domain=com", "--dhcp-option=119,com",
            "--dhcp-option-force=114,https://api.hotel.example/cp"])
        self.dnsmasq("cafe", "r1", ["192.168.88.1", "fd88::1"], CAFE, [])
        self.dnsmasq("net", "lo", ["8.8.8.8", "2001:4860:4860::8888"], STRANGER, [])
        # Somebody takes connections for DNS over TLS, so that what a program says first is seen.
        self.spawn("net", ["python3", "-c", """import socket
s = socket.create_server(("8.8.8.8", 853))
while True:
    s.accept()[0].recv(999)"""])
        with open(self.work + "/unbound.conf", "w") as f:
            f.write(f"""server:
  interface: 192.0.2.1@443
  interface: 192.0.2.1@853
  interface: 2001:db8:2::1@443
  interface: 2001:db8:2::1@853
  tls-service-key: "{self.certs}/server.key"
  tls-service-pem: "{self.certs}/server.pem"
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{self.work}"
  pidfile: ""
  use-syslog: no
  logfile: "{self.work}/res.log"
  log-queries: yes
  module-config: "iterator"
  local-zone: "." redirect
  local-data: ". A {TRUSTED}"
  local-data: ". AAAA 2001:db8:80::80"
""")
        self.spawn("net", ["unbound", "-c", self.work + "/unbound.conf"])
        until("the resolver answers", lambda: sh(["ip", "netns", "exec", "net", "bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/853"], check=False).returncode == 0)

    def dnsmasq(self, ns, interface, addresses, answer, more):
        listen = [f"--listen-address={address.split('%')[0]}" for address in addresses]
        process = self.spawn(ns, ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file", "--bind-dynamic", *listen,
                                  f"--interface={interface}", "--log-queries", f"--log-facility={self.work}/{ns}.log", f"--address=/#/{answer}", "--address=/#/2001:db8:66::66",
                                  "--conf-file=/dev/null", *more])
        until(f"{ns}'s resolver answers", lambda: answer in self.dig(addresses[0], "ready.example", ns=ns))
        return process

    # --- processes ---------------------------------------------------------------------------------------------------------------
    def spawn(self, ns, words, log=None, env=None, prefix=()):
        where = [] if ns is None else ["ip", "netns", "exec", ns]
        out = open(log, "a") if log else subprocess.DEVNULL
        process = subprocess.Popen(where + list(prefix) + words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env)
        self.processes.append(process)
        return process

    def end(self, process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def end_all(self):
        for process in reversed(self.processes):
            self.end(process)

    # --- asking ------------------------------------------------------------------------------------------------------------------
    def dig(self, server, name, *more, ns=None, user=None, time=3):
        where = [] if ns is None else ["ip", "netns", "exec", ns]
        who = [] if user is None else ["setpriv", f"--reuid={user}", "--clear-groups"]
        try:
            done = sh([*where, *who, "dig", f"@{server}", "+tries=1", f"+time={time}", name, *more], check=False)
        except subprocess.TimeoutExpired:
            return "timed out"
        return done.stdout + done.stderr

    def libc(self, name, ns=None):
        where = [] if ns is None else ["ip", "netns", "exec", ns]
        try:
            return sh([*where, "getent", "ahosts", name], check=False, timeout=25).stdout
        except subprocess.TimeoutExpired:
            return "timed out"

    # --- captures ----------------------------------------------------------------------------------------------------------------
    def capture(self, tag):
        """On the hotel's side of the client's link, on the ISP's side of the hotel's, and the same at the cafe; live when this returns."""
        self.captures = {}
        for who, ns, device in (("hotel", "hotel", "r0"), ("isp", "isp", "i1"), ("cafe", "cafe", "r1"), ("the cafe's isp", "isp", "i3")):
            path = f"{self.work}/{tag}.{who}.pcap"
            self.captures[who] = (path, self.spawn(ns, ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-s0", "-w", path]))
        beacon = canary.fresh()
        def is_live():
            for where, address in (("hotel", "192.0.2.1"), ("hotel", "192.168.77.50"), ("cafe", "192.0.2.1"), ("cafe", "192.168.88.50")):
                sh(["ip", "netns", "exec", where, "bash", "-c", f"echo {beacon} > /dev/udp/{address}/9"], check=False)
            return all(os.path.exists(path) and canary.found(beacon, canary.packets(path)) for path, _ in self.captures.values())
        until("the captures see a beacon", is_live)

    def seen(self):
        """Ends the captures: what the hotel and the ISP saw."""
        time.sleep(0.3)
        out = {}
        for who, (path, process) in self.captures.items():
            self.end(process, signal.SIGINT)
            out[who] = canary.packets(path)
        return out

    # --- tacenda -----------------------------------------------------------------------------------------------------------------
    def config(self, more="", strategy="in-order"):
        os.makedirs("/etc/tacenda", exist_ok=True)
        with open("/etc/tacenda/tacenda.toml", "w") as f:
            f.write(f"""version = 1
strategy = "{strategy}"
listen = ["127.0.0.1:53", "[::1]:53", "10.77.0.1:53"]
allow = ["127.0.0.0/8", "::1", "10.77.0.0/24"]
[[upstream]]
url = "https://dns.tacenda.test/dns-query"
addresses = ["192.0.2.1", "2001:db8:2::1"]
roots = "{self.certs}/ca.pem"
[[upstream]]
url = "tls://dns.tacenda.test"
addresses = ["192.0.2.1"]
roots = "{self.certs}/ca.pem"
{more}
[[route]]
zones = ["corp.example"]
upstream = ["udp://10.8.0.1"]
interface = "tun0"
""")

    def start_stub(self):
        """As a user of its own, as the unit does."""
        os.makedirs("/var/lib/tacenda", exist_ok=True)
        os.chown("/var/lib/tacenda", 990, 990)
        os.makedirs("/run/tacenda-guard/portal", exist_ok=True)
        caps = "+net_bind_service,+net_raw"
        self.stub = self.spawn(None, [self.tacenda, "run"], log=self.work + "/stub.log",
                               prefix=["setpriv", "--reuid=990", "--regid=990", "--clear-groups", f"--inh-caps={caps}", f"--ambient-caps={caps}"])
        until("tacenda answers", lambda: "NOERROR" in self.dig("127.0.0.1", "localhost", time=1))

    def run(self, *words, check=True):
        return sh([self.tacenda, *words], check=check)

    def hotel_dns(self):
        """What the hotel's DHCP hands out, as a client without any manager writes it."""
        with open("/etc/resolv.conf", "w") as f:
            f.write("search com\nnameserver 192.168.77.1\n")
