"""A hotel that lets nobody through before he has signed in: who asks for a web page is led to its own, and everything else is dropped."""
import json, os, pty, select, signal, socket, subprocess, time
import canary
from scenarios import none, scenario
from world import GUARDED, HOTEL, TRUSTED, Failed, sh, until

LOGIN = "login.hotel.example"
# What tells of the page (RFC 8908), and a page whose name nobody but that says.
API, ELSEWHERE = "api.hotel.example", "sign-in.provider.example"
PAGE = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302)
        self.send_header("Location", "http://login.hotel.example/?from=" + self.headers["Host"])
        self.end_headers()
http.server.HTTPServer(("192.168.77.1", 8080), Page).serve_forever()
"""
TOLD = """
import http.server, json, ssl, sys
class Api(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_asked_well = self.path == "/cp" and self.headers["Accept"] == "application/captive+json"
        self.send_response(200 if is_asked_well else 400)
        self.send_header("Content-Type", "application/captive+json")
        self.end_headers()
        self.wfile.write(json.dumps({"captive": True, "user-portal-url": "https://sign-in.provider.example/x"}).encode())
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1])
server = http.server.HTTPServer(("192.168.77.1", 8443), Api)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
RULES = """table inet portal {
  chain lead {
    type nat hook prerouting priority -100
    iifname r0 ip daddr 203.0.113.66 tcp dport 443 dnat ip to 192.168.77.1:8443
    iifname r0 tcp dport 80 dnat ip to 192.168.77.1:8080
  }
  chain stop {
    type filter hook forward priority 0
    udp dport 9 accept comment "by which the captures are known to be live"
    iifname r0 drop
  }
}"""

def hotel_nft(text):
    sh(["ip", "netns", "exec", "hotel", "nft", "-f", "-"], input=text)

def status(w):
    return json.loads(w.run("portal", "status", "--json", check=False).stdout or "{}")

def window(w):
    return status(w).get("window") or {}

# Those that may be seen in this phase.
allowed = {LOGIN}

def is_login(packet):
    """A question to the hotel's resolver for a name that is allowed."""
    is_named = any(canary.wire(name) in packet.octets.lower() for name in allowed)
    return packet.dport == 53 and packet.dst == socket.inet_aton("192.168.77.1") and is_named

def elements():
    """The pairs that the kernel lets out now."""
    return [sh(["nft", "list", "set", "inet", "tacenda", f"portal{version}"]).stdout for version in (4, 6)]

def is_shut():
    return not any("timeout" in text.split("elements", 1)[1] for text in elements() if "elements" in text)

def as_stub(w, name=LOGIN):
    """As the user whom tacenda runs as, straight to the hotel's resolver."""
    return w.dig("192.168.77.1", name, "+noedns", user=990, time=1)

def phase(w, label, tag, asked):
    """Ends the captures and begins new ones: only the allowed name was asked of the hotel, or not even that."""
    packets = w.seen()
    for who, seen in packets.items():
        named = canary.found(label, seen)
        asks = [p for p in seen if p.dport in GUARDED and p.dport != 853]
        if named or any(not is_login(p) for p in asks):
            raise Failed(f"{tag}: the {who} sees {len(named)} names, and {[str(p) for p in asks if not is_login(p)][:3]}")
        if who == "isp" and asks:
            raise Failed(f"{tag}: the ISP sees the page's name")
    logins = sum(is_login(p) for p in packets["hotel"])
    if bool(logins) != asked:
        raise Failed(f"{tag}: {logins} questions for the page's name")
    w.capture(f"17{tag}")
    return logins

def consented(w, answers, *words, env=None, meanwhile=None):
    """What `portal open` says on a terminal where a person answers so, each time when asked; `meanwhile` is before the last answer."""
    ours, its = pty.openpty()
    process = subprocess.Popen([w.tacenda, "portal", "open", *words], stdin=its, stderr=its, stdout=subprocess.PIPE, text=True, env=env)
    os.close(its)
    said, asked, end = "", 0, time.time() + 30
    while time.time() < end:
        if not select.select([ours], [], [], 0.1)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            said += os.read(ours, 8192).decode()
        except OSError:
            break
        while said.count("[y/N]") > asked and asked < len(answers):
            if meanwhile and asked == len(answers) - 1:
                meanwhile()
            os.write(ours, answers[asked].encode() + b"\n")
            asked += 1
    try:
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
        os.close(ours)
    return process.returncode, said, out

def opened(w, time_left, *more):
    said = w.run("portal", "open", "--yes", "--for", time_left, *more).stdout
    if "window: open" not in said:
        raise Failed(f"`portal open`: {said}")

def only_login(w, label, tag):
    """In a window: its name is answered by the hotel, no other name by anybody."""
    if HOTEL not in w.dig("127.0.0.1", LOGIN):
        raise Failed(f"{tag}: the page's name has no address: {w.dig('127.0.0.1', LOGIN)[-300:]}")
    for name in (f"w.{label}.example", f"{label}.{LOGIN}"):
        none(w, w.dig("127.0.0.1", name, time=6), name)
        none(w, w.dig("192.168.77.1", name, time=6), name)
    none(w, w.libc(f"l.{label}.example"), "libc")

@scenario(17, "a sign-in page: before consent, in its window, after it, keeper killed, API, and paid")
def portal(w, label):
    if not w.guarded:
        return w.dig("192.168.77.1", f"p.{label}.example")
    page = w.spawn("hotel", ["python3", "-c", PAGE])
    hotel_nft(RULES)
    try:
        closed(w, label)
    finally:
        w.end(page)
        sh(["ip", "netns", "exec", "hotel", "nft", "delete", "table", "inet", "portal"], check=False)

def closed(w, label):
    w.expected = is_login
    # Before consent: found by itself, and nothing is asked of the hotel.
    def is_found():
        none(w, w.dig("127.0.0.1", f"b.{label}.example", time=6), "before consent")
        return status(w).get("state") == "portal"
    until("the page is found", is_found, 40)
    if status(w)["host"] != LOGIN or "17.253.109.201" not in w.dig("127.0.0.1", "captive.apple.com"):
        raise Failed(f"the page is not shown: {status(w)}")
    none(w, w.dig("127.0.0.1", LOGIN, time=6) + as_stub(w), "before consent")
    refused = w.run("portal", "open", check=False)
    if refused.returncode != 1 or "no terminal" not in refused.stderr or not is_shut():
        raise Failed(f"without a person: {refused}")
    code, said, _ = consented(w, ["n"])
    if code != 1 or f"sign in at {LOGIN}" not in said or "through 192.168.77.1 (h0) for 5m?" not in said or not is_shut():
        raise Failed(f"a person says no: {code} {said}")
    phase(w, label, "before", asked=False)
    # In the window, and after it. The stub's own user is let out by the kernel, and no more when the time is over.
    code, said, out = consented(w, ["y"], "--for", "25s")
    if code or "window: open" not in out:
        raise Failed(f"a person says yes: {code} {said} {out}")
    if HOTEL not in as_stub(w):
        raise Failed("the kernel does not let the stub out in its window")
    only_login(w, label, "window")
    if not window(w)["names"][0]["sent"]:
        raise Failed(f"what was sent is not told: {window(w)}")
    until("the window is over", lambda: not window(w)["open"], 30)
    until("the kernel has closed it", is_shut, 3)
    phase(w, label, "window", asked=True)
    none(w, w.dig("127.0.0.1", LOGIN, time=6) + as_stub(w) + as_stub(w, f"late.{label}.example"), "after its time")
    phase(w, label, "after", asked=False)
    # Whoever keeps the guard is dead: the kernel closes it, and the rules stand.
    opened(w, "6s")
    until("the kernel has opened it", lambda: not is_shut(), 3)
    w.end(w.keeper, signal.SIGKILL)
    w.stub.send_signal(signal.SIGSTOP)
    if HOTEL not in as_stub(w):
        raise Failed("with a dead keeper: not open in its time")
    until("the kernel has closed it by itself", is_shut, 10)
    phase(w, label, "killed", asked=True)
    none(w, as_stub(w) + as_stub(w, f"dead.{label}.example"), "with a dead keeper, after its time")
    w.stub.send_signal(signal.SIGCONT)
    phase(w, label, "dead", asked=False)
    w.keeper = w.spawn(None, [w.tacenda, "guard", "watch"], log=w.work + "/guard.log")
    until("the guard is kept", lambda: "nobody keeps" not in w.run("guard", "status", check=False).stdout)
    # Taken back by hand: at once.
    opened(w, "5m", "--name", "cdn.hotel.example")
    only_login(w, label, "again")
    said = w.run("portal", "close").stdout
    if f"{LOGIN}: sent" not in said or "cdn.hotel.example: not sent" not in said:
        raise Failed(f"`portal close`: {said}")
    until("closed by hand", is_shut, 2)
    phase(w, label, "closed", asked=True)
    in_flight(w, label)
    told(w, label)
    # Paid: the upstream works, and the window is of no use any more.
    opened(w, "4m")
    only_login(w, label, "at last")
    sh(["ip", "netns", "exec", "hotel", "nft", "delete", "table", "inet", "portal"])
    until("the upstream works", lambda: TRUSTED in w.dig("127.0.0.1", f"paid.{label}.example", time=6), 40)
    until("closed by the upstream", lambda: window(w)["closed"] == "upstream-works" and status(w)["state"] == "ok", 5)
    phase(w, label, "paid", asked=True)
    if TRUSTED not in w.dig("127.0.0.1", LOGIN):
        raise Failed("the page's name is not asked of the upstream again")
    w.run("portal", "close")
    w.expected = None

def in_flight(w, label):
    """The network goes while a question is under way: it is not repeated, by whatever way, nor when the network is back."""
    opened(w, "5m")
    w.hotel.send_signal(signal.SIGSTOP)
    try:
        asking = subprocess.Popen(["dig", "@127.0.0.1", "+tries=1", "+time=6", LOGIN], stdout=subprocess.DEVNULL)
        until("a question is under way", lambda: window(w)["names"][0]["sent"])
        sh("ip addr del 192.168.77.50/24 dev h0")
        until("closed with its network", lambda: window(w)["closed"] == "link" and is_shut(), 5)
        sent = window(w)["names"][0]["sent"]
        sh("ip addr add 192.168.77.50/24 dev h0")
        sh("ip route add default via 192.168.77.1")
        asking.wait(10)
    finally:
        w.hotel.send_signal(signal.SIGCONT)
    none(w, w.dig("127.0.0.1", LOGIN, time=6) + as_stub(w), "on another network")
    if not is_shut():
        raise Failed("a window opens again by itself")
    if (phase(w, label, "flight", asked=True), window(w)["names"][0]["sent"]) != (sent, sent):
        raise Failed(f"a question under way when the network went: sent {sent} times by then, and again")

def told(w, label):
    """DHCP says who tells of the page (RFC 8910), and that one names a page elsewhere (RFC 8908)."""
    at = w.work + "/portal-"
    sh(f"""openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {at}ca.key -out {at}ca.pem -days 2 -subj '/CN=hotel CA'
      openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {at}api.key -out {at}api.csr -subj /CN=api
      printf 'subjectAltName=DNS:{API}\\nbasicConstraints=CA:FALSE\\n' > {at}ext
      openssl x509 -req -in {at}api.csr -CA {at}ca.pem -CAkey {at}ca.key -CAcreateserial -days 2 -extfile {at}ext -out {at}api.pem; cat {at}api.key >> {at}api.pem""")
    api = w.spawn("hotel", ["python3", "-c", TOLD, at + "api.pem"], log=w.work + "/api.log")
    os.makedirs("/var/lib/dhcp", exist_ok=True)
    # The lease alone: addresses stay as they are.
    sh(["dhclient", "-1", "-sf", "/bin/true", "-pf", at + "dhclient.pid", "-lf", "/var/lib/dhcp/dhclient.h0.leases", "h0"])
    until("dhclient has gone into the background", lambda: os.path.exists(at + "dhclient.pid") and open(at + "dhclient.pid").read().strip())
    os.kill(int(open(at + "dhclient.pid").read()), signal.SIGTERM)
    believes = os.environ | {"SSL_CERT_FILE": at + "ca.pem"}
    names = lambda: {one["name"]: one["sent"] for one in window(w)["names"]}
    try:
        # By a flag, nobody has seen what the network tells: it is said, and not asked.
        said = w.run("portal", "open", "--yes")
        if f"--name {API}" not in said.stderr or API in names():
            raise Failed(f"by a flag, names that nobody has seen: {said}")
        only_login(w, label, "flag")
        phase(w, label, "flag", asked=True)
        # Whose certificate nobody believes: no word of it counts, and the window is open all the same.
        allowed.add(API)
        said = w.run("portal", "open", "--yes", "--name", API)
        if "an authority not among the roots" not in said.stderr or "sign in at https" in said.stdout or "window: open" not in said.stdout:
            raise Failed(f"an API that nobody believes: {said}")
        for answers in (["y", "n"], ["y", "y"]):
            is_allowed = answers[1] == "y"
            if is_allowed:
                phase(w, label, "refused", asked=True)
                allowed.add(ELSEWHERE)
            code, asks, out = consented(w, answers, env=believes)
            words = f"sign in at https://{ELSEWHERE}/x" if is_allowed else "whose name is not allowed"
            if code or f"  {API}" not in asks or f"page is at {ELSEWHERE}" not in asks or words not in out:
                raise Failed(f"what the API says: {code} {asks} {out}")
            if (HOTEL in w.dig("127.0.0.1", ELSEWHERE, time=6)) != is_allowed or HOTEL not in as_stub(w):
                raise Failed(f"a person says {answers} to the name of the page elsewhere")
            sent = names()
            if sent[API] < 1 or (sent.get(ELSEWHERE, 0) > 0) != is_allowed:
                raise Failed(f"what was sent is not told: {sent}")
            only_login(w, label, "told")
        phase(w, label, "agreed", asked=True)
        allowed.discard(ELSEWHERE)
        said = sh(["env", f"SSL_CERT_FILE={at}ca.pem", w.tacenda, "portal", "open", "--yes", "--name", API])
        if f"--name {ELSEWHERE}" not in said.stderr or ELSEWHERE in names() or "whose name is not allowed" not in said.stdout:
            raise Failed(f"by a flag, a page elsewhere: {said}")
        # Who answers late opens nothing again, whatever stands there now.
        code, asks, out = consented(w, ["y", "y"], env=believes, meanwhile=lambda: w.run("portal", "close"))
        if "no name was added" not in asks or "sign in at https" in out or not is_shut():
            raise Failed(f"late, after a close: {code} {asks} {out} {elements()}")
        def another():
            w.run("portal", "close")
            opened(w, "30s", "--name", "cdn.hotel.example")
        code, asks, out = consented(w, ["y", "y"], env=believes, meanwhile=another)
        if "no name was added" not in asks or list(names()) != ["cdn.hotel.example", LOGIN] or is_shut():
            raise Failed(f"late, in another window: {code} {asks} {out} {window(w)}")
        none(w, w.dig("127.0.0.1", ELSEWHERE, time=6) + w.dig("127.0.0.1", API, time=6), "late")
        w.run("portal", "close")
        phase(w, label, "late", asked=True)
    finally:
        allowed.intersection_update({LOGIN})
        w.end(api)
        if os.path.exists("/var/lib/dhcp/dhclient.h0.leases"):
            os.remove("/var/lib/dhcp/dhclient.h0.leases")
