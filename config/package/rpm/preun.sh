# As the Debian package does: given back first, or not removed.
if [ "$1" = 0 ]; then
  said=$(/usr/bin/tacenda service uninstall --for-package) || exit 1
  echo "$said" | grep -e '^restored' -e '^taken away' -e '^note' -e '^the leak guard' || :
  if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now tacenda.socket tacenda.service tacenda-system.service tacenda-guard.service > /dev/null 2>&1 || :
  fi
fi
