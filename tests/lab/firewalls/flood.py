"""Asks 8.8.8.8 and its IPv6 address over UDP and TCP all the time, each time by another socket; at the end: how often, and how often a
stranger and the trusted resolver have answered."""
import os, select, signal, socket, struct, time
over = False
def stop(*_):
    global over
    over = True
signal.signal(signal.SIGTERM, stop)
wire = lambda name: b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
sent = stranger = trusted = 0
waiting = []
open(f"w/asking.{os.getpid()}", "w").close()
while not over:
    query = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + wire(f"x{sent}.flood.example") + struct.pack(">2H", 1, 1)
    for family, server in ((socket.AF_INET, "8.8.8.8"), (socket.AF_INET6, "2001:4860:4860::8888")):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            s = socket.socket(family, kind)
            s.setblocking(False)
            try:
                s.connect_ex((server, 53))
                if kind == socket.SOCK_DGRAM:
                    s.send(query)
            except OSError:
                pass
            sent += 1
            waiting.append(s)
    time.sleep(0.005)
    for s in select.select(waiting, [], [], 0)[0]:
        try:
            got = s.recv(4096)
            stranger += socket.inet_aton("203.0.113.67") in got
            trusted += socket.inet_aton("203.0.113.80") in got
        except OSError:
            pass
    for s in waiting[:-80]:
        s.close()
    del waiting[:-80]
print(sent, stranger, trusted)
