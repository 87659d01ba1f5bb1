#!/bin/sh
# Pins what the image installs, with hashes: `make requirements`, after a change in pyproject.toml.
# One file serves x86_64 and aarch64: it holds the hashes of every wheel of a release.
set -eu
cd "$(dirname "$0")/.."

pin() {
    uv pip compile --quiet --python-version 3.11 --python-platform "$1" --generate-hashes \
        --no-annotate --no-header --upgrade --no-config "$2"
}

write() {
    target=$1 source=$2
    pin x86_64-manylinux_2_28 "$source" >"$target.new"
    pin aarch64-manylinux_2_28 "$source" >"$target.other"
    cmp -s "$target.new" "$target.other" || {
        echo "requirements.sh: $source: x86_64 and aarch64 need different packages" >&2
        exit 1
    }
    rm "$target.other"
    { echo "# Made by \`make requirements\`: change $source instead."; cat "$target.new"; } >"$target.full"
    rm "$target.new"
    mv "$target.full" "$target"
    echo "$target: $(grep -c == "$target") packages"
}

write deployment/requirements.txt pyproject.toml
write deployment/requirements-build.txt deployment/requirements-build.in
