#!/bin/sh
# What prometheus.yml can't read from the environment: the server's port, and one of its keys.
set -eu
umask 077
echo "[{\"targets\": [\"web:${PORT:-5555}\"]}]" >"${TMPDIR:-/tmp}/derma.json"
keys=${DERMA_API_KEYS:-}
printf '%s' "${keys%%,*}" >"${TMPDIR:-/tmp}/derma.key"
exec prometheus "$@"
