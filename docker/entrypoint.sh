#!/bin/sh
# Starts a command in the mounted repository, or says why that can't work.
set -eu

stop() {
    echo "docker: $1" >&2
    exit 1
}

[ -f "$COMPOSE_FOLDER/entrypoint.sh" ] ||
    stop "started from $COMPOSE_FOLDER; run docker-compose (or docker compose) inside the folder docker/ of the repository"
{ mkdir -p mlflow/db mlflow/artifacts && [ -w mlflow/db ] && [ -w mlflow/artifacts ]; } 2>/dev/null ||
    stop "user $(id -u) may not write to $(pwd)/mlflow; put DERMA_UID and DERMA_GID into docker/.env (the output of id -u and id -g)"
exec "$@"
