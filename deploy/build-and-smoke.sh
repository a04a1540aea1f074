#!/usr/bin/env bash
# Builds the service's image, runs it as an operator would (not root, no capabilities, nothing writable but /tmp) and
# asks it for a picture. Prints a line per check; exit status 0 when all hold. Takes Docker where its daemon answers,
# else buildah as root. Needs curl.
#   BASE_IMAGE=python:3.12-slim   what to build on
#   BUILD_ARGS="--secret ..."     more arguments of the build
#   IMAGE=hourglass               the name to give
#   MODELS=folder                 models to serve in place of the image's own
#   BUILDAH="buildah --..."       buildah and its global arguments
set -euo pipefail
cd "$(dirname "$0")/.."
BASE_IMAGE=${BASE_IMAGE:-python:3.12-slim}
BUILD_ARGS=${BUILD_ARGS:-}
BUILDAH=${BUILDAH:-buildah}
IMAGE=${IMAGE:-hourglass}
MODELS=${MODELS:+$(realpath "$MODELS")}
LIMIT_MB=450
STOP_SECONDS=5 # an idle service has nothing to drain
scratch=$(mktemp -d)
engine=buildah
container=""
sandbox=""
status=0
failures=0

main() {
    ! docker info >/dev/null 2>&1 || engine=docker
    trap clean EXIT
    build
    start "one worker"
    check "the process is not root" inside grep -q '^Uid:[[:space:]]*[1-9]' /proc/1/status
    check "it has no capabilities" inside grep -q '^CapEff:[[:space:]]*0*$' /proc/1/status
    check "the root is read-only" inside sh -c 'cd / && ! touch written && ! touch opt/hourglass/written'
    check "no compiler is there" inside sh -c '! command -v gcc cc clang make'
    check "neither torch, training nor pip is there" inside python -c '
import sys
from importlib.util import find_spec
sys.exit(" ".join(it for it in ("torch", "onnx", "training", "pip", "setuptools") if find_spec(it)) or 0)'
    check "all code is compiled" inside sh -c '! python -v -c "import service.server.run" 2>&1 | grep "^# code object from .*[.]py.$"'
    check "the health check finds it healthy" health
    check "the health check finds nobody where nobody is" not_healthy
    check "/denoise turns a PNG picture into a PNG picture" denoises
    stop "one worker"
    start "two workers" HOURGLASS_WORKERS=2
    check "/denoise answers from two workers" denoises
    stop "two workers"
    exit $((failures > 0))
}

check() { # NAME COMMAND ...
    if "${@:2}" >"$scratch/output" 2>&1; then
        echo "ok    $1"
    else
        echo "FAIL  $1"
        sed 's/^/      /' "$scratch/output" | tail -n 20
        failures=$((failures + 1))
    fi
}

build() {
    local megabytes
    check "$engine builds $IMAGE on $BASE_IMAGE" "${engine}_build"
    ((failures == 0)) || exit 1
    "${engine}_open"
    megabytes=$(($("${engine}_bytes") / 1000000))
    check "it has $megabytes MB, fewer than $LIMIT_MB" test "$megabytes" -lt "$LIMIT_MB"
}

start() { # NAME [VARIABLE=VALUE ...]
    local before=$failures
    "${engine}_start" "${@:2}"
    check "$1: ready" ready
    ((failures > before)) || return 0
    "${engine}_log" | tail -n 20
    exit 1
}

ready() {
    local began=$SECONDS
    until curl -sf "$("${engine}_url")/readyz"; do
        "${engine}_alive" && ((SECONDS - began < 60)) || return 1
        sleep 0.2
    done
}

stop() { # NAME
    local began=$SECONDS
    "${engine}_stop"
    check "$1: SIGTERM ends it in time, with status $status" stopped "$status" $((SECONDS - began))
}

stopped() { # STATUS SECONDS
    [[ $1 == 0 || $1 == 143 ]] && (($2 <= STOP_SECONDS))
}

inside() { "${engine}_exec" "$@"; }

health() { # [VARIABLE=VALUE ...]
    local command
    mapfile -t command < <("${engine}_health")
    inside env "$@" "${command[@]:1}" # the first word is CMD
}

not_healthy() { ! health HOURGLASS_PORT=1; }

denoises() {
    inside python -c '
import random, sys
from PIL import Image
Image.frombytes("L", (28, 28), random.Random(0).randbytes(784)).save(sys.stdout.buffer, "PNG")' >"$scratch/noisy.png" &&
        curl -sS --fail-with-body "$("${engine}_url")/denoise" -H 'Content-Type: image/png' \
            --data-binary "@$scratch/noisy.png" >"$scratch/clean.png" &&
        inside python -c '
import sys
from PIL import Image
clean = Image.open(sys.stdin.buffer)
clean.load()
sys.exit(clean.format != "PNG")' <"$scratch/clean.png" &&
        ! cmp -s "$scratch/noisy.png" "$scratch/clean.png"
}

clean() {
    "${engine}_clean" >/dev/null 2>&1 || true # also where nothing was started
    rm -rf "$scratch"
}

docker_build() { docker build --target service --build-arg "BASE_IMAGE=$BASE_IMAGE" $BUILD_ARGS -t "$IMAGE" .; }
docker_open() { :; }
docker_bytes() { docker image inspect -f '{{.Size}}' "$IMAGE"; }
docker_health() { docker image inspect -f '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}' "$IMAGE" | sed '/^$/d'; }
docker_start() { # [VARIABLE=VALUE ...]
    container=$(docker run -d --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
        -p 127.0.0.1::8000 ${MODELS:+-v "$MODELS:/models:ro"} "${@/#/--env=}" "$IMAGE")
}
docker_url() { echo "http://$(docker port "$container" 8000)"; }
docker_alive() { [[ $(docker inspect -f '{{.State.Running}}' "$container") == true ]]; }
docker_log() { docker logs "$container" 2>&1; }
docker_exec() { docker exec -i "$container" "$@"; }
docker_stop() {
    docker stop -t 25 "$container" >/dev/null
    status=$(docker inspect -f '{{.State.ExitCode}}' "$container")
    docker rm "$container" >/dev/null
}
docker_clean() { docker rm -f "$container"; }

# buildah builds, but its `run` keeps neither the root read-only nor the process number 1: namespaces by hand do.
buildah_build() {
    $BUILDAH build --format docker --target service --build-arg "BASE_IMAGE=$BASE_IMAGE" $BUILD_ARGS -t "$IMAGE" .
}
buildah_open() {
    container=$($BUILDAH from "$IMAGE")
    root=$($BUILDAH mount "$container")
    user=$(buildah_config .OCIv1.Config.User)
    mapfile -t environment < <(buildah_config 'range .OCIv1.Config.Env}}{{println .}}{{end')
    mapfile -t command < <(buildah_config 'range .OCIv1.Config.Entrypoint}}{{println .}}{{end}}{{range .OCIv1.Config.Cmd}}{{println .}}{{end')
}
buildah_config() { $BUILDAH inspect --type image -f "{{$1}}" "$IMAGE" | sed '/^$/d'; }
buildah_bytes() { du -sxb "$root" | cut -f1; }
buildah_health() { buildah_config 'range .Docker.Config.Healthcheck.Test}}{{println .}}{{end'; }
buildah_start() { # [VARIABLE=VALUE ...]
    port=$((20000 + RANDOM % 10000))
    while (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done # the network is the host's
    ROOT=$root MODELS=$MODELS unshare --mount --pid --fork bash -euc '
        mount --bind "$ROOT" "$ROOT"
        cd "$ROOT"
        mount -t proc proc proc
        mount -t tmpfs tmpfs tmp
        touch etc/hosts
        mount --bind /etc/hosts etc/hosts
        mount -t tmpfs -o mode=755 tmpfs dev
        for node in null zero full random urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
        mkdir -m 1777 dev/shm
        [[ -z $MODELS ]] || mount --bind "$MODELS" models
        mount -o remount,bind,ro "$ROOT"
        exec setpriv --no-new-privs chroot --userspec="$1" . env -i "${@:2}"' \
        - "$user" "${environment[@]}" "HOURGLASS_PORT=$port" "$@" "${command[@]}" >"$scratch/log" 2>&1 &
    sandbox=$!
}
buildah_url() { echo "http://127.0.0.1:$port"; }
buildah_alive() { kill -0 "$sandbox" 2>/dev/null; }
buildah_log() { cat "$scratch/log"; }
buildah_first() { tr -d ' ' <"/proc/$sandbox/task/$sandbox/children"; }
buildah_exec() {
    nsenter -t "$(buildah_first)" --mount --pid --root --wd=/ -S "${user%:*}" -G "${user#*:}" \
        env -i "${environment[@]}" "HOURGLASS_PORT=$port" "$@"
}
buildah_stop() {
    status=0
    kill -TERM "$(buildah_first)"
    for _ in {1..250}; do buildah_alive && sleep 0.1; done
    ! buildah_alive || kill -KILL "$(buildah_first)"
    wait "$sandbox" || status=$?
}
buildah_clean() {
    ! buildah_alive || kill -KILL "$(buildah_first)" # its end is that of all in the namespaces
    wait "$sandbox"
    $BUILDAH rm "$container"
}

main
