#!/usr/bin/env bash
# Ends only the daemons that start.sh recorded.
LAB="${LAB:-${TMPDIR:-/tmp}/tacenda-lab}"
for f in "$LAB"/run/*.pid; do [ -s "$f" ] && kill -TERM -- "-$(cat "$f")" 2>/dev/null || kill "$(cat "$f" 2>/dev/null)" 2>/dev/null; rm -f "$f"; done; exit 0
