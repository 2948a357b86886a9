if [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload || :
  # The socket stays open: what is asked meanwhile waits in it.
  if [ "$1" -ge 1 ]; then systemctl try-restart tacenda.service tacenda-system.service tacenda-guard.service || :; fi
fi
