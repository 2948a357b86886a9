# $1: 1 for an installation, more for an upgrade. A distribution's presets decide whether services are on.
if [ -d /run/systemd/system ]; then systemctl --system daemon-reload || :; fi
if [ "$1" = 1 ]; then
  if command -v systemctl > /dev/null; then
    systemctl --no-reload preset tacenda.socket tacenda.service tacenda-system.service tacenda-guard.service > /dev/null 2>&1 || :
  fi
  echo "\`sudo tacenda service install\` starts tacenda, \`sudo tacenda system set\` has this machine ask it."
fi
