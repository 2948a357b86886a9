# As the Debian package does: given back first, or not removed.
if [ "$1" = 0 ]; then
  if [ -d /run/systemd/system ]; then
    tacenda service uninstall > /dev/null || exit 1
    systemctl stop tacenda.socket tacenda.service tacenda-system.service tacenda-guard.service > /dev/null 2>&1 || :
  else
    tacenda system restore > /dev/null || exit 1
    tacenda guard off > /dev/null || exit 1
  fi
fi
