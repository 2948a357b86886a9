"""Finds a canary name in captured packets, in every form a program or protocol may give it."""
import base64, os, struct

def fresh():
    """A label that no program ever asked. Its own per scenario, so that what is found has a name."""
    return "zq" + "".join("bcdfghjklmnprstvwxyz0123456789"[b % 30] for b in os.urandom(10))

def wire(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"

def netbios(label):
    """Half an octet a letter (RFC 1001)."""
    return b"".join(bytes([65 + (b >> 4), 65 + (b & 15)]) for b in label.upper().encode())

def cores(octets, code):
    """What of the encoded octets is the same at each of three alignments."""
    for pad in range(3):
        text = code(b"\0" * pad + octets)
        yield text[2 + 2 * (pad > 0):-4].rstrip(b"=")

def forms(label):
    """(form, octets); octets are compared without regard to case."""
    text = label.encode()
    yield "text", text
    yield "UTF-16", text.decode().encode("utf-16-le")
    yield "NetBIOS", netbios(label)
    yield "hexadecimal", text.hex().encode()
    yield "backwards", text[::-1]
    for octets in (text, bytes([len(text)]) + text):
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            for core in cores(octets, code):
                yield "base64", core

def found(label, packets):
    """Every (form, packet) in which it is."""
    hits = []
    wanted = [(form, octets.lower()) for form, octets in forms(label) if len(octets) >= 6]
    for packet in packets:
        low = packet.octets.lower()
        for form, octets in wanted:
            if octets in low:
                hits.append((form, packet))
                break
    return hits

class Packet:
    """One frame: its octets, and protocol, addresses and ports where it has some."""
    def __init__(self, octets):
        self.octets, self.proto, self.sport, self.dport, self.dst, self.src = octets, None, None, None, None, None
        kind, at = octets[12:14], 14
        if kind == b"\x08\x00" and len(octets) >= 34:
            self.proto, head = octets[23], (octets[14] & 15) * 4
            self.src, self.dst = octets[26:30], octets[30:34]
            at += head
        elif kind == b"\x86\xdd" and len(octets) >= 54:
            self.proto, self.src, self.dst = octets[20], octets[22:38], octets[38:54]
            at += 40
        if self.proto in (6, 17) and len(octets) >= at + 4:
            self.sport, self.dport = struct.unpack(">HH", octets[at:at + 4])

    def __str__(self):
        import ipaddress
        name = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp6"}.get(self.proto, self.proto)
        return f"{name} {ipaddress.ip_address(self.src)}:{self.sport} > {ipaddress.ip_address(self.dst)}:{self.dport}" if self.dst else "frame"

def packets(path):
    """The frames of a pcap file, as far as it is written."""
    with open(path, "rb") as f:
        data = f.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, out = 24, []
    while at + 16 <= len(data):
        size = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        if at + 16 + size > len(data):
            break
        out.append(Packet(data[at + 16:at + 16 + size]))
        at += 16 + size
    return out

def self_test():
    """Each form is found in a packet that has it, and nothing in one that has not."""
    label = fresh()
    query = struct.pack(">6H", 1, 256, 1, 0, 0, 0) + wire(label + ".example") + b"\0\1\0\1"
    carriers = [label.encode(), label.upper().encode(), wire(f"www.{label}.example"), label.encode("utf-16-le"), netbios(label), query,
                query.hex().encode(), label[::-1].encode()]
    for pad in range(3):
        carriers.append(base64.urlsafe_b64encode(b"x" * pad + query))
    for carrier in carriers:
        assert found(label, [Packet(b"\0" * 60 + carrier)]), carrier
    assert not found(label, [Packet(b"\0" * 60 + wire(fresh() + ".example"))])
