#!/bin/sh
# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
#
# usage: probe.sh alive|ready
#
# The process itself says until when it may be silent: a file holds that moment in
# seconds of uptime. Reading it takes only what every POSIX shell has built in, no
# process is started, and a jump of the wall clock does no harm.
file="${CELERYOPS_STATE_DIR:-/run/celeryops}/$1"
if [ ! -r "$file" ]; then
    echo "$1: no sign yet: $file does not exist (starting, not connected to the broker, or shutting down)"
    exit 1
fi
read -r until since what <"$file"
read -r now _ </proc/uptime
now="${now%.*}"
if [ "$now" -le "${until:-0}" ]; then
    exit 0
fi
echo "$1: silent for $((now - since)) s, $((until - since)) s are allowed; it last said: $what"
exit 1
