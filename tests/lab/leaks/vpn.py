"""Scenarios with a real OpenVPN, another network to roam to, a DHCP client, and resolvers that are not known by address."""
import json, os, signal, threading, time
from scenarios import none, ours, scenario
from world import CAFE, HOTEL, STRANGER, TRUSTED, VPN, Failed, sh, until

def pki(w):
    """A CA, a server's and a client's certificate, for an hour."""
    if os.path.exists(w.work + "/ca.key"):
        return
    run = lambda *words: sh(["openssl", *words], cwd=w.work)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=vpn", "-days", "2")
    for name, usage in (("server", "serverAuth"), ("client", "clientAuth")):
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        with open(f"{w.work}/{name}.ext", "w") as f:
            f.write(f"extendedKeyUsage={usage}\nkeyUsage=digitalSignature\n")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext")

def server(w):
    """OpenVPN behind the ISP; its own resolver at 10.8.0.1 answers every name."""
    pki(w)
    certs = lambda name: ["--ca", w.work + "/ca.crt", "--cert", f"{w.work}/{name}.crt", "--key", f"{w.work}/{name}.key"]
    w.openvpn = w.spawn("vpn", ["openvpn", "--dev", "tun9", "--dev-type", "tun", "--port", "1194", "--proto", "udp", "--server", "10.8.0.0", "255.255.255.0",
                                "--topology", "subnet", "--dh", "none", *certs("server"), "--keepalive", "1", "4", "--push", "dhcp-option DNS 10.8.0.1",
                                "--push", "redirect-gateway def1", "--duplicate-cn"], log=w.work + "/openvpn-server.log")
    until("the VPN's interface", lambda: "tun9" in sh("ip -n vpn -o link", check=False).stdout)
    if not getattr(w, "vpn_resolver", None):
        w.vpn_resolver = True
        sh(["ip", "netns", "exec", "vpn", "nft", "-f", "-"], input="""table ip nat {
          chain post {
            type nat hook postrouting priority 100
            oifname "v1" masquerade
          }
        }""")
        w.dnsmasq("vpn", "tun9", ["10.8.0.1"], VPN, [])

def connect(w, *more):
    """The client's end, with a script that writes the VPN's resolver where it finds one, as update-resolv-conf does."""
    script = w.work + "/up"
    with open(script, "w") as f:
        f.write("#!/bin/sh\nprintf 'search corp.example lab.example com\\nnameserver 10.8.0.1\\n' > /etc/resolv.conf\n")
    os.chmod(script, 0o755)
    client = w.spawn(None, ["openvpn", "--client", "--dev", "tun0", "--dev-type", "tun", "--remote", "198.51.100.14", "1194", "udp", "--nobind", "--ca", w.work + "/ca.crt",
                            "--cert", w.work + "/client.crt", "--key", w.work + "/client.key", "--remote-cert-tls", "server", "--script-security", "2",
                            "--up", script, "--connect-retry", "1", "1", *more], log=w.work + "/openvpn.log")
    until("the tunnel is up", lambda: "Initialization Sequence Completed" in open(w.work + "/openvpn.log").read())
    return client

def disconnect(w, client):
    w.end(client)
    os.remove(w.work + "/openvpn.log")
    until("the tunnel is gone", lambda: "tun0" not in sh("ip -o link").stdout)
    # OpenVPN takes its routes away with it; the script has no `down` half, and a person without tacenda has the hotel's resolver back.
    if not w.guarded:
        w.hotel_dns()

class Load:
    """Programs that ask without a pause, each time another name, each in one of the usual ways."""
    def __init__(self, w, label):
        self.w, self.label, self.over, self.answers, self.wrong = w, label, threading.Event(), 0, []
        self.thread = threading.Thread(target=self.run)

    def run(self):
        n = 0
        while not self.over.is_set():
            n += 1
            server = ("127.0.0.1", "192.168.77.1", "8.8.8.8", "10.8.0.1")[n % 4]
            text = self.w.dig(server, f"q{n}.{self.label}.example", time=1)
            self.answers += TRUSTED in text
            if any(other in text for other in (HOTEL, STRANGER, CAFE, VPN)):
                self.wrong.append(text)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        if self.w.guarded and self.wrong:
            raise Failed(f"{len(self.wrong)} answers of others, for example: {self.wrong[0][-300:]}")

def back(w, label, what):
    """Fresh names are answered again; how long it took."""
    begin = time.time()
    n = 0
    def answers():
        nonlocal n
        n += 1
        return TRUSTED in w.dig("127.0.0.1", f"back{n}.{label}.example", time=1)
    until(f"answers after: {what}", answers, 10)
    w.recoveries.append((what, time.time() - begin))

@scenario(8, "a VPN goes up, down and up under load; its interface is deleted, its server killed")
def vpn(w, label):
    server(w)
    try:
        with Load(w, label):
            client = connect(w)
            if w.guarded:
                back(w, label + "1", "VPN up")
            else:
                time.sleep(1)
            disconnect(w, client)
            if w.guarded:
                back(w, label + "2", "VPN down")
                client = connect(w)
                sh("ip link del tun0", check=False)
                back(w, label + "3", "its interface is deleted")
                w.end(client, signal.SIGKILL)
                os.remove(w.work + "/openvpn.log")
                client = connect(w)
                w.end(w.openvpn, signal.SIGKILL)
                time.sleep(0.5)
                # Its routes are still there: nothing gets through until the client gives up. Nothing may go elsewhere.
                none(w, w.dig("192.168.77.1", f"dead.{label}.example", time=1).replace(TRUSTED, ""), "while the server is dead")
                disconnect(w, client)
                back(w, label + "4", "server killed, VPN down")
            else:
                time.sleep(1)
    finally:
        if w.openvpn.poll() is None:
            w.end(w.openvpn)

@scenario(9, "a VPN that leaves the LAN out, with the hotel's resolver: the article's own case")
def article(w, label):
    server(w)
    # The hotel's /24 stays outside of the tunnel, as everywhere; DHCP's resolver is in it.
    client = connect(w, "--pull-filter", "ignore", "dhcp-option", "--up", "/bin/true")
    if not w.guarded:
        w.hotel_dns()
    with Load(w, label):
        for n in range(5):
            ours(w, w.libc(f"up{n}.{label}.example"), "libc, VPN up")
            ours(w, w.dig("192.168.77.1", f"d{n}.{label}.example"), "the hotel's resolver, VPN up")
    disconnect(w, client)
    for n in range(5):
        ours(w, w.libc(f"down{n}.{label}.example"), "libc, VPN down")
    client = connect(w, "--pull-filter", "ignore", "dhcp-option", "--up", "/bin/true")
    if not w.guarded:
        w.hotel_dns()
    ours(w, w.libc(f"again.{label}.example"), "libc, VPN up again")
    disconnect(w, client)
    w.end(w.openvpn)

@scenario(10, "TunnelVision: DHCP routes pull the VPN's resolver and 8.8.8.8 out of the tunnel")
def tunnelvision(w, label):
    server(w)
    client = connect(w)
    if not w.guarded:
        with open("/etc/resolv.conf", "w") as f:
            f.write("nameserver 10.8.0.1\n")
    pulled = ("8.8.8.8/32", "10.8.0.1/32")
    for target in pulled:
        sh(["ip", "route", "replace", target, "via", "192.168.77.1", "dev", "h0"])
    try:
        for resolver in ("10.8.0.1", "8.8.8.8"):
            ours(w, w.dig(resolver, f"t.{label}.example"), f"@{resolver}")
        ours(w, w.libc(f"l.{label}.example"), "libc")
        if w.guarded:
            # tacenda's own question of a route is bound to the tunnel; the kernel agrees only there.
            text = w.dig("127.0.0.1", f"r.{label}.corp.example", time=6)
            if HOTEL in text:
                raise Failed("a routed name is answered by the hotel")
    finally:
        for target in pulled:
            sh(["ip", "route", "del", target, "via", "192.168.77.1"], check=False)
        disconnect(w, client)
        w.end(w.openvpn)

@scenario(11, "a name of the VPN's own zone while the tunnel is up, then down", control=False)
def split(w, label):
    server(w)
    client = connect(w)
    until("the route's resolver answers", lambda: VPN in w.dig("127.0.0.1", f"up.{label}.corp.example", time=2))
    # What the VPN wants is offered and not taken: not what is configured already, and not `com`.
    offers = until("the VPN's domains are offered", lambda: json.loads(w.run("system", "status", "--json", check=False).stdout)["offers"])
    if len(offers) != 1 or 'zones = ["lab.example"]' not in offers[0] or 'interface = "tun0"' not in offers[0]:
        raise Failed(f"offered: {offers}")
    disconnect(w, client)
    text = w.dig("127.0.0.1", f"down.{label}.corp.example", time=6)
    if "SERVFAIL" not in text:
        raise Failed(f"without the tunnel: {text}")
    w.end(w.openvpn)
    if f"{label}.corp".encode() in open(w.work + "/res.log", "rb").read():
        raise Failed("a name of the VPN's zone reached the public resolver")

@scenario(12, "roaming: hotel, cafe, hotel; tacenda stopped while it happens")
def roam(w, label):
    with Load(w, label):
        for n, (v4, v6, resolver) in enumerate((("192.168.88.1", "fd88::1", "192.168.88.1"), ("192.168.77.1", "fd77::1", "192.168.77.1"))):
            if w.guarded:
                w.stub.send_signal(signal.SIGSTOP)
            sh(["ip", "route", "replace", "default", "via", v4])
            sh(["ip", "-6", "route", "replace", "default", "via", v6])
            none(w, w.dig(resolver, f"r{n}.{label}.example", time=1).replace(TRUSTED, "") if w.guarded else w.dig(resolver, f"r{n}.{label}.example"), "while it sleeps")
            if w.guarded:
                w.stub.send_signal(signal.SIGCONT)
                back(w, label + str(n), f"roaming to {v4}, awake again")
                ours(w, w.dig(resolver, f"s{n}.{label}.example"), "the new network's resolver")

@scenario(23, "a resolver that is known by name only, a certificate that names places to look it up", control=False)
def bootstrap(w, label):
    sh(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "aia.key", "-out", "aia.crt", "-subj", "/CN=dns.tacenda.test",
        "-addext", "subjectAltName=DNS:dns.tacenda.test", "-addext", f"authorityInfoAccess=OCSP;URI:http://ocsp.{label}.example/,caIssuers;URI:http://ca.{label}.example/",
        "-addext", f"crlDistributionPoints=URI:http://crl.{label}.example/"], cwd=w.work)
    tls = w.spawn("net", ["openssl", "s_server", "-accept", "8853", "-cert", w.work + "/aia.crt", "-key", w.work + "/aia.key", "-tls1_3", "-quiet", "-naccept", "9"])
    w.end(w.stub)
    w.config(f"""[[upstream]]
url = "tls://boot.{label}.example"
roots = "{w.certs}/ca.pem"
[[upstream]]
url = "tls://dns.tacenda.test:8853"
addresses = ["192.0.2.1"]
roots = "{w.work}/aia.crt"
""", strategy="spread")
    sh("find /var/lib/tacenda -type f -delete")
    w.start_stub()
    for n in range(20):
        w.dig("127.0.0.1", f"x.n{n}{label}.example", time=6)
    w.end(tls)
    w.end(w.stub)
    w.config()
    w.start_stub()
    if label.encode() not in open(w.work + "/res.log", "rb").read():
        raise Failed("void: the resolver's own name was never asked, not even privately")

@scenario(2, "a DHCP client renews its lease again and again, and hands in the domain com (3)")
def renewals(w, label):
    leases = w.work + "/dhclient"
    for n in range(3):
        client = w.spawn(None, ["dhclient", "-4", "-d", "-lf", leases, "-pf", w.work + "/dhclient.pid", "h0"], log=w.work + "/dhclient.log")
        until("a lease", lambda: open(w.work + "/dhclient.log").read().count("bound to") > n, 20)
        ours(w, w.libc(f"d{n}.{label}.com"), "libc after a lease")
        ours(w, w.libc(f"www{n}.{label}.example"), "libc after a lease")
        w.end(client, signal.SIGKILL)
    if w.guarded and sh("grep -c ^nameserver /etc/resolv.conf").stdout.strip() != "1":
        raise Failed(open("/etc/resolv.conf").read())
