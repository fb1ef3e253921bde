#!/bin/sh
# Refreshes internal/web/vendor/hls.js from the npm package of one version:
#
#	scripts/vendor-hlsjs.sh [VERSION]
#
# Stores the full build and its worker gzipped, with the licence, the version and
# the SHA-256 of each file before compression. Needs npm and whatever registry npm
# is configured for; nothing else in the build does.
set -eu

version=${1:-1.7.4}
here=$(cd "$(dirname "$0")/.." && pwd)
dest=$here/internal/web/vendor/hls.js
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cd "$work"
npm pack --silent "hls.js@$version" >/dev/null
tar -xzf hls.js-*.tgz

mkdir -p "$dest"
rm -f "$dest"/*
cp package/LICENSE "$dest/LICENSE"
printf '%s\n' "$version" >"$dest/VERSION"
for f in hls.min.js hls.worker.js; do
	gzip -9 -n -c "package/dist/$f" >"$dest/$f.gz"
done
(cd package/dist && sha256sum hls.min.js hls.worker.js) >"$dest/SHA256SUMS"
ls -l "$dest"
