#!/usr/bin/env bash
# Installs a wheel into a new environment and serves from an empty folder: the models of the wheel must answer.
#   deploy/check_install.sh WHEEL ENVIRONMENT     ENVIRONMENT is made if it is missing
set -euo pipefail
wheel=$(realpath "$1")
[ -x "$2/bin/python" ] || "${PYTHON:-python3}" -m venv "$2"
environment=$(realpath "$2")
"$environment/bin/pip" install --quiet --disable-pip-version-check "$wheel[cpu]"
folder=$(mktemp -d)
server=""
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
for name in $(compgen -e HOURGLASS_ || true) PYTHONPATH; do unset "$name"; done
port=$("$environment/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$environment/bin/hourglass" serve --port "$port" --log-format json 2>log &
server=$!
"$environment/bin/python" -I - "$port" <<'PYTHON' || { cat log; exit 1; }
import io, json, sys, time, urllib.error, urllib.request
from PIL import Image

address = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(600):
    try:
        urllib.request.urlopen(address + "/readyz").read()
        break
    except (urllib.error.URLError, ConnectionError):
        time.sleep(0.1)
models = json.load(urllib.request.urlopen(address + "/models"))
file = io.BytesIO()
Image.new("L", (28, 28), 90).save(file, "PNG")
for operation in ("encode", "reconstruct", "denoise"):
    request = urllib.request.Request(f"{address}/{operation}", file.getvalue(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        print(f"ok: {operation} answers {answer.status}, {answer.headers['Content-Type']}, {len(answer.read())} bytes")
print("ok:", json.dumps(models)[:200])
PYTHON
echo "ok: $(head -n 1 log)"
head -n 1 log | grep -q "the models of the wheel"
