#!/usr/bin/env python3
"""load.py [COMMAND...]: a thousand queries a second for 127.0.0.1:53 while the command runs, or, without one, while tacenda.service is
started anew three times; fails if one has no answer."""
import socket
import struct
import subprocess
import sys
import threading
import time

MIN_COUNT = 6000
# As many ids as there are, which is a minute.
MAX_COUNT = 65536
QUESTION = b"\x03nas\x07example\x00\x00\x01\x00\x01"

SO_RCVBUFFORCE = 33


def overflows():
    """Datagrams that found a full buffer, anybody's, since the network is there."""
    names, values = [line.split() for line in open("/proc/net/snmp") if line.startswith("Udp:")]
    return int(values[names.index("RcvbufErrors")])


before = overflows()
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", 53))
client.settimeout(0.2)
# All answers to what waited come at once: more than the usual buffer holds.
client.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
sent = set()
# When the last answer must be there; known once everything is sent.
end = float("inf")


def receive():
    while time.monotonic() < end and (sent or end == float("inf")):
        try:
            answer = client.recv(1500)
            # The record of its own, and no failure.
            if answer[3] & 15 == 0 and answer[-4:] == b"\xc0\x00\x02\x09":
                sent.discard(struct.unpack("!H", answer[:2])[0])
        except socket.timeout:
            pass


receiver = threading.Thread(target=receive)
receiver.start()
failed = []


def work():
    commands = [sys.argv[1:]] if len(sys.argv) > 1 else [["systemctl", "restart", "tacenda.service"]] * 3
    for command in commands:
        time.sleep(0.7)
        if subprocess.run(command).returncode != 0:
            failed.append(command)


worker = threading.Thread(target=work)
worker.start()
begin = time.monotonic()
number = 0
while number < MAX_COUNT and (number < MIN_COUNT or worker.is_alive()):
    while time.monotonic() - begin < number / 1000:
        time.sleep(0.0002)
    sent.add(number)
    client.send(struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + QUESTION)
    number += 1
is_late = worker.is_alive()
end = time.monotonic() + 8
worker.join()
receiver.join()
print(f"{number} queries, {len(sent)} without an answer, {overflows() - before} found a full buffer", *sorted(sent)[:50])
sys.exit(1 if sent or is_late or failed else 0)
