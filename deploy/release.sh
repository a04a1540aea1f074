#!/usr/bin/env bash
# Builds the wheel twice and compares the bytes, checks it, installs it into an empty environment and serves from an
# empty folder, and writes the SBOM of that environment. Builds and checks the image where a Docker daemon answers.
# Everything lands in dist/. Exit status 0 when all holds.
#   PYTHON=python3   a Python with the extra release
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath --no-symlinks "$(command -v "${PYTHON:-python3}")")
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

rm -rf dist
"$PYTHON" -m hatchling build -t wheel -d dist >/dev/null
"$PYTHON" -m hatchling build -t wheel -d "$scratch/again" >/dev/null
cmp dist/*.whl "$scratch"/again/*.whl
(cd dist && sha256sum -- *.whl | tee SHA256SUMS)
"$PYTHON" -m twine check --strict dist/*.whl
"$PYTHON" deploy/check_wheel.py dist/*.whl
deploy/check_install.sh dist/*.whl "$scratch/environment"
"$PYTHON" -m cyclonedx_py environment --output-reproducible --pyproject pyproject.toml --validate \
    --output-file dist/hourglass.cdx.json "$scratch/environment/bin/python"
"$PYTHON" deploy/check_licences.py dist/hourglass.cdx.json
"$PYTHON" deploy/check_platforms.py "$scratch/environment"
echo "ok: SBOM dist/hourglass.cdx.json"
if docker info >/dev/null 2>&1; then
    deploy/build-and-smoke.sh
else
    echo "skipped: the image, because no Docker daemon answers"
fi
