#!/usr/bin/env python3
"""A thousand queries a second for 127.0.0.1:53 while tacenda.service is started anew three times; fails if one has no answer."""
import socket
import struct
import subprocess
import sys
import threading
import time

COUNT = 6000
QUESTION = b"\x03nas\x07example\x00\x00\x01\x00\x01"

client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", 53))
client.settimeout(8)
missing = set(range(COUNT))


def receive():
    while missing:
        try:
            missing.discard(struct.unpack("!H", client.recv(1500)[:2])[0])
        except socket.timeout:
            return


receiver = threading.Thread(target=receive)
receiver.start()


def restart():
    for _ in range(3):
        time.sleep(0.7)
        subprocess.run(["systemctl", "restart", "tacenda.service"], check=True)


restarts = threading.Thread(target=restart)
restarts.start()
begin = time.monotonic()
for number in range(COUNT):
    while time.monotonic() - begin < number / 1000:
        time.sleep(0.0002)
    client.send(struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 0) + QUESTION)
late = restarts.is_alive()
restarts.join()
receiver.join()
print(f"{COUNT} queries, {len(missing)} without an answer")
sys.exit(1 if missing or late else 0)
