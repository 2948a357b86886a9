"""What is done on the client, with a canary label in every name. Each is run with the guard and without: `w.guarded`.

With it, the hotel and the ISP must see nothing, and programs get tacenda's answer or none. Without it, they must see the canary.
"""
import os, signal, socket, struct, subprocess, time
import canary
from world import CAFE, HOTEL, STRANGER, TRUSTED, Failed, sh, until

ALL = []

def scenario(number, title, control=True):
    def register(function):
        ALL.append((number, title, function, control))
        return function
    return register

def ours(w, text, what):
    """Whoever asks gets tacenda's answer."""
    if w.guarded and (TRUSTED not in text or any(other in text for other in (HOTEL, STRANGER, CAFE))):
        raise Failed(f"{what}: not tacenda's answer: {text[-400:]}")

def none(w, text, what):
    """Whoever asks gets nobody's answer."""
    if w.guarded and any(address in text for address in (HOTEL, STRANGER, CAFE, TRUSTED)):
        raise Failed(f"{what}: an answer where there must be none: {text[-400:]}")

def query(name, qtype=1):
    return struct.pack(">6H", 4660, 256, 1, 0, 0, 0) + canary.wire(name) + struct.pack(">2H", qtype, 1)

def send(octets, to, family=socket.AF_INET, kind=socket.SOCK_DGRAM, device=None, bind=None, wait=1.0):
    """One datagram or one framed message; what came back, or the error."""
    with socket.socket(family, kind) as s:
        s.settimeout(wait)
        if device:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        try:
            if bind:
                s.bind(bind)
            if kind == socket.SOCK_STREAM:
                s.connect(to)
                s.sendall(struct.pack(">H", len(octets)) + octets)
            else:
                s.sendto(octets, to)
            return s.recv(4096)
        except OSError as error:
            return str(error).encode()

def has(reply, address):
    return socket.inet_aton(address) in reply

@scenario(1, "programs ask as usual: libc, dig over UDP and TCP")
def usual(w, label):
    for n in range(20):
        ours(w, w.libc(f"a{n}.{label}.example"), "libc")
    for how in ((), ("+tcp",)):
        ours(w, w.dig("127.0.0.1" if w.guarded else "192.168.77.1", f"dig.{label}.example", *how), "dig")

@scenario(4, "the hotel's resolver over IPv6, by RDNSS and link-local address")
def ipv6(w, label):
    for how in ((), ("+tcp",)):
        ours(w, w.dig("fd77::1", f"v6.{label}.example", *how), "dig @fd77::1")
        # A socket for one link cannot be led elsewhere: it is refused.
        none(w, w.dig("fe80::77%h0", f"ll.{label}.example", *how), "dig @fe80::77%h0")

@scenario(5, "tacenda is killed again and again, and stands still")
def killed(w, label):
    if w.guarded:
        for n in range(5):
            w.end(w.stub, signal.SIGKILL)
            none(w, w.dig("127.0.0.1", f"k{n}.{label}.example", time=1) + w.dig("192.168.77.1", f"h{n}.{label}.example", time=1), "while it is dead")
            none(w, w.libc(f"l{n}.{label}.example"), "libc while it is dead")
            w.start_stub()
        w.stub.send_signal(signal.SIGSTOP)
        none(w, w.dig("192.168.77.1", f"stop.{label}.example", time=2), "while it stands still")
        w.stub.send_signal(signal.SIGCONT)
        until("it answers again", lambda: TRUSTED in w.dig("192.168.77.1", f"back.{label}.example", time=1))
    else:
        w.dig("192.168.77.1", f"k.{label}.example")

@scenario(6, "no upstream can be reached: dropped, refused, another's certificate")
def closed(w, label):
    if not w.guarded:
        return w.libc(f"u.{label}.example")
    nft = lambda text: sh(["ip", "netns", "exec", "isp", "nft", "-f", "-"], input=text)
    verdicts = ["drop", "reject with icmpx admin-prohibited"]
    for n, verdict in enumerate(verdicts):
        nft(f"""table inet shut {{
          chain f {{
            type filter hook forward priority 0
            th dport {{ 443, 853 }} {verdict}
          }}
        }}""")
        begin = time.time()
        text = w.dig("127.0.0.1", f"u{n}.{label}.example", time=6)
        if "SERVFAIL" not in text or time.time() - begin > 5.5:
            raise Failed(f"{verdict}: {text[-300:]}")
        none(w, w.libc(f"l{n}.{label}.example") + w.dig("192.168.77.1", f"h{n}.{label}.example", time=6), verdict)
        nft("delete table inet shut")
    until("upstream is back", lambda: TRUSTED in w.dig("127.0.0.1", f"again.{label}.example", time=2), 15)

@scenario(7, "the network and programs are up before tacenda is")
def early(w, label):
    if not w.guarded:
        return w.dig("192.168.77.1", f"e.{label}.example")
    w.end(w.stub)
    for server in ("192.168.77.1", "8.8.8.8", "127.0.0.1"):
        none(w, w.dig(server, f"e.{label}.example", time=1), server)
    w.start_stub()
    ours(w, w.dig("192.168.77.1", f"later.{label}.example"), "later")

@scenario(13, "servers written into programs: 8.8.8.8, IPv6, the hotel's, as root and as a user")
def written(w, label):
    for server in ("8.8.8.8", "2001:4860:4860::8888", "192.168.77.1", "fd77::1"):
        for user in (None, 1000):
            for how in ((), ("+tcp",)):
                ours(w, w.dig(server, f"w.{label}.example", *how, user=user), f"dig @{server} as {user} {how}")

@scenario(14, "a container that asks 8.8.8.8, the hotel, or this host")
def container(w, label):
    for server in ("8.8.8.8", "192.168.77.1", "2001:4860:4860::8888"):
        for how in ((), ("+tcp",)):
            text = w.dig(server, f"c.{label}.example", *how, ns="ctr")
            # tacenda listens on the bridge's IPv4 address; over IPv6 nobody is there to be led to.
            (none if ":" in server else ours)(w, text, f"container, dig @{server}")
    if w.guarded:
        ours(w, w.dig("10.77.0.1", f"host.{label}.example", ns="ctr"), "container, this host")
        none(w, send_from("ctr", f"""s=socket.create_connection(("192.168.77.1",853),2); s.sendall(b"{label}")"""), "container, DoT")

def send_from(ns, code):
    done = sh(["ip", "netns", "exec", ns, "python3", "-c", "import socket\n" + code], check=False)
    return done.stdout + done.stderr

@scenario(15, "names for neighbours: LLMNR, multicast DNS, NetBIOS, a name without a dot")
def neighbours(w, label):
    for port in (5353, 5355):
        send(query(f"{label}.local"), ("224.0.0.251" if port == 5353 else "224.0.0.252", port), device="h0", wait=0.2)
        send(query(f"{label}.local"), (f"ff02::{'fb' if port == 5353 else '1:3'}", port, 0, socket.if_nametoindex("h0")), socket.AF_INET6, wait=0.2)
    for port in (137, 138):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            name = (label.upper().ljust(15)[:15] + "\0").encode()
            encoded = b"\x20" + b"".join(bytes([65 + (b >> 4), 65 + (b & 15)]) for b in name) + b"\0"
            try:
                s.sendto(struct.pack(">6H", 1, 272, 1, 0, 0, 0) + encoded + struct.pack(">2H", 32, 1), ("192.168.77.255", port))
            except OSError:
                pass
    w.libc(label)
    w.libc(f"{label}.local")

@scenario(16, "opportunistic DNS over TLS to the hotel, and to a stranger")
def opportunistic(w, label):
    for server in ("192.168.77.1", "8.8.8.8"):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            # Nobody listens there; a ClientHello would name its server.
            send(b"\x16\x03\x01" + label.encode(), (server, 853), kind=kind, wait=0.5)
    reply = w.dig("127.0.0.1" if w.guarded else "192.168.77.1", "_dns.resolver.arpa", "SVCB")
    if w.guarded and "nobody.invalid" not in reply:
        raise Failed(f"DDR is asked: {reply}")
    if not w.guarded:
        send(query(f"{label}.example"), ("192.168.77.1", 853), wait=0.3)

@scenario(18, "others flush all packet rules, or have their own: nft flush ruleset, DNAT to the hotel")
def flushed(w, label):
    if w.guarded:
        for n in range(3):
            sh("nft flush ruleset")
            ours(w, w.dig("8.8.8.8", f"f{n}.{label}.example"), "after nft flush ruleset")
        for priority in (-150, -100):
            sh(["nft", "-f", "-"], input=f"""table ip other {{
              chain o {{
              type nat hook output priority {priority}
              udp dport 53 ip daddr != 127.0.0.0/8 dnat to 192.168.77.1
              udp dport 5300 dnat to 192.168.77.1:53
              }}
              }}""")
            none(w, send(query(f"odd.{label}.example"), ("192.0.2.7", 5300), wait=0.3).decode("latin1"), "5300 led to the hotel's 53")
            text = w.dig("8.8.8.8", f"d{-priority}.{label}.example", time=1)
            if HOTEL in text or STRANGER in text:
                raise Failed(f"another's DNAT wins: {text}")
            sh("nft delete table ip other")
            # To another port, where a resolver of the hotel's may listen: it is the same question.
            sh(["nft", "-f", "-"], input=f"""table ip other {{
              chain o {{
                type nat hook output priority {priority}
                udp dport 53 ip daddr != 127.0.0.0/8 dnat to 192.168.77.1:5300
              }}
              chain p {{
                type nat hook prerouting priority {priority}
                udp dport 53 dnat to 192.168.77.1:5300
              }}
            }}""")
            for ns in (None, "ctr"):
                text = w.dig("8.8.8.8", f"p{-priority}.{label}.example", time=1, ns=ns)
                if HOTEL in text or STRANGER in text:
                    raise Failed(f"another's DNAT to another port wins: {text}")
            sh("nft delete table ip other")
        ours(w, w.dig("8.8.8.8", f"after.{label}.example"), "afterwards")
    else:
        w.dig("8.8.8.8", f"f.{label}.example")

@scenario(22, "sockets for one interface, packets sent past the routing")
def bound(w, label):
    for device in ("h0",):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            reply = send(query(f"b.{label}.example"), ("192.168.77.1", 53), kind=kind, device=device)
            if w.guarded and has(reply, HOTEL):
                raise Failed("a socket for one interface gets the hotel's answer")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", socket.if_nametoindex("h0")))  # IP_UNICAST_IF, as systemd-resolved does
        s.settimeout(1)
        s.sendto(query(f"u.{label}.example"), ("192.168.77.1", 53))
        if w.guarded and not has(s.recv(4096), TRUSTED):
            raise Failed("IP_UNICAST_IF is not led to tacenda")

@scenario(25, "reverse names of the LAN, wpad, service names, a VPN's suffix", control=False)
def homely(w, label):
    for name in (f"{label}.lan", f"{label}.home.arpa", f"wpad.{label}.local", f"_ldap._tcp.{label}.internal", label):
        none(w, w.dig("127.0.0.1", name), name)
    w.dig("127.0.0.1", "-x", "192.168.77.1")
    with open(w.work + "/res.log", "rb") as f:
        log = f.read()
    if label.encode() in log or b"1.77.168.192" in log:
        raise Failed("a name that belongs to this network reached the resolver")
