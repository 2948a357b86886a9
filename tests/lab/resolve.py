#!/usr/bin/env python3
"""Asks 127.0.0.1:PORT with dnspython, over udp (then TCP when truncated) or tcp; questions as `name type` lines on stdin.
Prints one line each: the RCODE and the answer section's RDATA, sorted. Usage: resolve.py PORT udp|tcp"""
import sys

import dns.message
import dns.query
import dns.rcode

port, transport = int(sys.argv[1]), sys.argv[2]
for line in sys.stdin:
    name, rdtype = line.split()
    query = dns.message.make_query(name, rdtype, use_edns=0, payload=1232)
    if transport == "tcp":
        answer = dns.query.tcp(query, "127.0.0.1", timeout=8, port=port)
    else:
        answer, _ = dns.query.udp_with_fallback(query, "127.0.0.1", timeout=8, port=port)
    rcode = answer.rcode()
    # Some resolvers leave half a chain in a failure; it is no answer.
    records = [] if rcode == dns.rcode.SERVFAIL else answer.answer
    rdata = sorted(record.to_text() for rrset in records for record in rrset)
    print(name, rdtype, dns.rcode.to_text(rcode), rdata)
