[ "$1" != 0 ] || rm -rf /run/tacenda-guard
if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload || :
  if [ "$1" -ge 1 ]; then
    # The socket stays open: what is asked meanwhile waits in it. One that answers by a configuration that is no more right goes on with it.
    if /usr/bin/tacenda check > /dev/null 2>&1; then
      systemctl try-restart tacenda.service tacenda-system.service tacenda-guard.service || :
    else
      echo "tacenda runs on as it was: \`tacenda check\` says what is wrong with its configuration." >&2
    fi
  fi
fi
