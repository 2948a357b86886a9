"""Runs the scenarios and prints the table."""
import ipaddress, json, os, signal, socket, sys, tempfile, time, traceback
import canary
import portal  # registers its scenario
from scenarios import ALL, query
import vpn  # registers its scenarios
from world import GUARDED, HOTEL, TRUSTED, Failed, World, sh, until

def judge(label, packets, expected=None):
    """(how many packets name the canary, how many go to a port that is guarded)."""
    names = sum(len(canary.found(label, seen)) for seen in packets.values())
    ports = [p for seen in packets.values() for p in seen if p.dport in GUARDED and not is_allowed(p) and not (expected and expected(p))]
    return names, ports

def is_allowed(packet):
    """DNS over TLS to the trusted resolver, and to where it says that another one is."""
    return packet.dport == 853 and str(ipaddress.ip_address(packet.dst)) in ("192.0.2.1", "2001:db8:2::1", "203.0.113.80", "2001:db8:80::80")

def once(w, number, function, guarded):
    label = canary.fresh()
    w.guarded, w.expected = guarded, None
    w.capture(f"{number}{'g' if guarded else 'c'}")
    problem = None
    try:
        function(w, label)
    except Failed as failed:
        problem = str(failed)
    except Exception:
        problem = traceback.format_exc(limit=3)
    packets = w.seen()
    names, ports = judge(label, packets, w.expected)
    if guarded and (names or ports) and not problem:
        first = next((p for seen in packets.values() for _, p in canary.found(label, seen)), None) or ports[0]
        problem = f"seen: {names} packets with the name, {len(ports)} to guarded ports, the first: {first}"
    if not guarded and not names and not problem:
        problem = "void: the capture sees nothing without the guard"
    return names, sum(len(seen) for seen in packets.values()), problem

def main():
    canary.self_test()
    tacenda, certs, *wanted = sys.argv[1:]
    work = tempfile.mkdtemp()
    os.chmod(work, 0o755)
    w = World(tacenda, certs, work)
    failed, rows, begin = [], [], time.time()
    # The DHCP client comes last: it changes addresses.
    chosen = [one for one in sorted(ALL, key=lambda one: (one[0] == 2, one[0])) if not wanted or str(one[0]) in wanted]
    try:
        w.build()
        w.servers()
        w.config()
        # Without protection: every detector must fire.
        w.hotel_dns()
        if wanted == ["show"]:
            show(w, "without")
        leaktest(w, False)
        controls = {number: once(w, number, function, False) for number, _, function, control in chosen if control}
        w.start_stub()
        w.run("system", "set", "--yes")
        w.spawn(None, [tacenda, "system", "watch"], log=work + "/watch.log")
        w.keeper = w.spawn(None, [tacenda, "guard", "watch"], log=work + "/guard.log")
        until("the guard is kept", lambda: os.path.exists("/run/tacenda-guard/report.json"))
        w.run("guard", "on", "--yes")
        if wanted == ["show"]:
            show(w, "with")
            return
        print(f"{'':4}{'what is done':84}{'without':>10}{'with':>7}")
        for number, title, function, control in chosen:
            names, packets, problem = once(w, number, function, True)
            without = controls.get(number, (None, 0, None))
            print(f"{number:>2}  {title:84}{'-' if without[0] is None else without[0]:>10}{names:>7}", flush=True)
            for bad in filter(None, (without[2], problem)):
                failed.append(number)
                print(f"      FAILED: {bad}", flush=True)
        leaktest(w, True)
        old_flow(w)
        neighbour(w)
        states(w)
        loose(w)
        for what, seconds in w.recoveries:
            print(f"answers again after: {what}: {seconds * 1000:.0f} ms")
        end(w)
    except Failed as problem:
        failed.append(0)
        print(f"FAILED: {problem}")
    finally:
        w.end_all()
    if failed:
        for name in ("stub.log", "guard.log", "watch.log", "openvpn.log", "openvpn-server.log", "dhclient.log"):
            if os.path.exists(f"{work}/{name}"):
                print(f"--- {name}\n" + open(f"{work}/{name}").read()[-2000:])
        sys.exit(1)
    print(f"ok: {len(chosen)} scenarios, no name on the hotel's link nor on the ISP's; {time.time() - begin:.0f} s")

def leaktest(w, guarded):
    """What `tacenda leaktest` says, beside what the hotel and the ISP saw."""
    w.capture(f"leaktest{guarded}")
    done = w.run("leaktest", "--json", check=False)
    report = json.loads(done.stdout or "{}")
    seen = w.seen()
    leaks = [path for path in report.get("paths", []) if path["seen"] and not path["path"].startswith("control")]
    if guarded and (done.returncode != 0 or leaks or report["void"]):
        raise Failed("leaktest: " + w.run("leaktest", check=False).stdout + done.stderr)
    if not guarded:
        wanted = ["libc (getaddrinfo)", "the router: 192.168.77.1 over UDP", "the router: 192.168.77.1 over TCP", "the router: fd77::1 over UDP",
                  "a public resolver: 8.8.8.8 over UDP", "a public resolver: 2001:4860:4860::8888 over TCP", "multicast DNS on h0", "LLMNR on h0",
                  "NetBIOS to the router", "DNS over QUIC at 8.8.8.8", "DNS over TLS at 8.8.8.8", "a container, to 8.8.8.8", "libc, a name without a dot"]
        named = [path["path"] for path in leaks]
        missing = [want for want in wanted if not any(name.startswith(want) for name in named)]
        if done.returncode != 1 or missing:
            raise Failed(f"leaktest without protection does not name {missing}: " + w.run("leaktest", check=False).stdout + done.stderr)
    print(f"leaktest {'with' if guarded else 'without'} protection: {report['leaks']} of {len(report['paths']) - 1} ways leak")

def show(w, what):
    """What the hotel sees of one lookup, as tcpdump prints it."""
    w.capture("show")
    w.libc("www.divorce-lawyer.example")
    w.seen()
    lines = sh(["tcpdump", "-n", "-tt", "-r", w.captures["hotel"][0], "tcp or udp and not port 9 and not port 67"]).stdout.splitlines()
    print(f"{what}:")
    for line in lines:
        print("   ", line.split(" ", 1)[1])

def old_flow(w):
    """A program that has asked the hotel from one socket before the guard is on, and goes on with it (22)."""
    w.run("guard", "off")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.connect(("192.168.77.1", 53))
        s.send(query(f"{canary.fresh()}.example"))
        if socket.inet_aton(HOTEL) not in s.recv(4096):
            raise Failed("void: without the guard the hotel does not answer")
        label = canary.fresh()
        w.run("guard", "on", "--yes")
        w.capture("flow")
        s.send(query(f"{label}.example"))
        answer = s.recv(4096)
    names, ports = judge(label, w.seen())
    if names or ports or socket.inet_aton(TRUSTED) not in answer:
        raise Failed(f"an old flow: {names} packets with the name, answer {answer}")
    print("a socket that asked the hotel before the guard was on: led to tacenda from the next question on")

def neighbour(w):
    """A kernel that lets neighbours in to 127.0.0.1 (route_localnet, as kube-proxy sets it): they are no programs of this host."""
    sh("sysctl -qw net.ipv4.conf.all.route_localnet=1")
    sh(["ip", "netns", "exec", "ctr", "sh", "-c", """sysctl -qw net.ipv4.conf.all.route_localnet=1 && ip addr del 127.0.0.1/8 dev lo
      ip route del table local local 127.0.0.0/8 2> /dev/null; ip route add 127.0.0.1/32 via 10.77.0.1"""])
    for how in ((), ("+tcp",)):
        text = w.dig("127.0.0.1", "localhost", *how, ns="ctr", time=1)
        if "NOERROR" in text or "REFUSED" in text:
            raise Failed(f"a neighbour's question to 127.0.0.1 arrives: {text}")
    sh("sysctl -qw net.ipv4.conf.all.route_localnet=0")
    print("a neighbour whom the kernel lets in to 127.0.0.1 is not heard")

def states(w):
    """What is wanted ends as it was before; what cannot be read is shut; what the kernel refuses leaves what stands."""
    status = lambda: json.loads(w.run("guard", "status", "--json", check=False).stdout)
    w.run("guard", "on", "--yes")
    w.run("guard", "on", "--for", "1s", "--mode", "reject", "--yes")
    if status()["mode"] != "reject":
        raise Failed("a trial is not in force")
    until("what was before the trial", lambda: status()["mode"] == "redirect", 5)
    w.run("guard", "off", "--for", "1s")
    until("it is on again", lambda: status()["mode"] == "redirect", 5)
    with open("/var/lib/tacenda-system/guard.json") as f:
        good = f.read()
    for bad in ("{", good.replace('"version": 1', '"version": 9')):
        w.end(w.keeper, signal.SIGKILL)
        sh("nft delete table inet tacenda")
        with open("/var/lib/tacenda-system/guard.json", "w") as f:
            f.write(bad)
        w.keeper = w.spawn(None, [w.tacenda, "guard", "watch"], log=w.work + "/guard.log")
        until("a wish that cannot be read shuts", lambda: sh("nft list table inet tacenda", check=False).returncode == 0, 5)
        if not status_problem():
            raise Failed("and nobody is told")
        w.run("guard", "on", "--yes")
        until("a wish that is written anew", lambda: status()["problem"] is None, 5)
    w.run("guard", "off")
    # Others' tables, as Docker's and a VPN's, are not touched.
    other = "table ip docker {\n\tchain out {\n\t\ttype nat hook output priority -100; policy accept;\n\t\tip daddr 203.0.113.9 tcp dport 80 dnat to 172.17.0.2:80\n\t}\n}\n"
    sh(["nft", "-f", "-"], input=other)
    theirs = lambda: sh("nft -s list table ip docker").stdout
    before = theirs()
    w.run("guard", "on", "--yes")
    during = theirs()
    w.run("guard", "off")
    if not before == during == theirs() or sh("nft list tables").stdout != "table ip docker\n":
        raise Failed(f"others' tables: {before} {during} {theirs()} {sh('nft list tables').stdout}")
    sh("nft delete table ip docker")
    w.run("guard", "on", "--yes")
    print("a trial ends as it was before; a wish that nobody can read shuts everything, and says so; others' tables are as they were")

def status_problem():
    """As whoever is not root reads it."""
    return until("a report", lambda: json.load(open("/run/tacenda-guard/report.json")).get("problem"), 5)

def loose(w):
    """A kernel that cannot hold the rules: what others flush is there again within milliseconds."""
    w.end(w.keeper)
    w.run("guard", "off")
    w.keeper = w.spawn(None, [w.tacenda, "guard", "watch", "--loose"], log=w.work + "/guard.log")
    w.run("guard", "on", "--yes")
    until("the guard is kept", lambda: "\nkept: put in force again" in w.run("guard", "status", check=False).stdout)
    times = []
    for change in ("nft flush ruleset", "nft delete table inet tacenda", "nft flush chain inet tacenda judge", "nft add element inet tacenda stub { 1000 }"):
        good = sh("nft -s list table inet tacenda").stdout
        sh(change)
        begin = time.time()
        until(f"the rules after `{change}`", lambda: sh("nft -s list table inet tacenda", check=False).stdout == good, 5, 0.005)
        times.append(time.time() - begin)
        time.sleep(0.2)
    print(f"rules that cannot be held are there again after others changed them: {', '.join(f'{t * 1000:.0f} ms' for t in times)}")

def end(w):
    """Off leaves nothing behind."""
    print(w.run("guard", "status").stdout, end="")
    w.run("guard", "off")
    if sh("nft list ruleset").stdout:
        raise Failed("`guard off` leaves rules behind: " + sh("nft list ruleset").stdout)
    journal = open("/var/lib/tacenda-system/journal.json").read()
    w.run("system", "restore")
    if "192.168.77.1" not in open("/etc/resolv.conf").read():
        raise Failed("the hotel's resolver is not given back: " + open("/etc/resolv.conf").read() + journal)

main()
