ARG BASE_IMAGE=python:3.12-slim

# docker build -t hourglass .                            the service
# docker build -t hourglass-gpu --target service-gpu .   the service on NVIDIA GPUs
# docker build -t hourglass-training --target training . hourglass-train
# A private package index: --secret id=pip,src=$HOME/.config/pip/pip.conf (a build argument would stay in the image's history).

# The project file changes often, what it requires seldom: the dependency layers below are made from these lists alone.
FROM ${BASE_IMAGE} AS requirements
WORKDIR /requirements
COPY pyproject.toml .
RUN python3 -c 'import pathlib, tomllib; \
    project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]; \
    lists = {"base": project["dependencies"], **project["optional-dependencies"]}; \
    [pathlib.Path(name + ".txt").write_text("\n".join(lines) + "\n") for name, lines in lists.items()]'

# Two environments: /pip does the work, /opt/hourglass is what the images get, without pip.
FROM ${BASE_IMAGE} AS builder
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/hourglass
ENV PATH=/pip/bin:$PATH PIP_PYTHON=/opt/hourglass/bin/python PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

FROM builder AS cpu
COPY --from=requirements /requirements/base.txt /requirements/cpu.txt /requirements/grpc.txt /requirements/hub.txt /requirements/otel.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install -r /requirements/base.txt -r /requirements/cpu.txt -r /requirements/grpc.txt -r /requirements/hub.txt \
        -r /requirements/otel.txt
# An eighth of the image that nothing opens: the C library (onnxruntime's Python module holds the same code once more)
# and the tests of others.
RUN cd /opt/hourglass/lib/python3.*/site-packages \
    && rm onnxruntime/capi/libonnxruntime.so.* \
    && find . -type d -name tests -prune -exec rm -r {} +

# Our own code, in a tree of its own that is laid over the environment: a change of code leaves the large layer alone.
FROM builder AS code
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY training training
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install --no-deps --prefix /code .

# The service's images hold no training code: its libraries are not there either.
FROM code AS service-code
RUN rm -r /code/bin/hourglass-train /code/lib/python3.*/site-packages/training

FROM ${BASE_IMAGE} AS runtime
LABEL org.opencontainers.image.title="Hourglass" \
      org.opencontainers.image.description="Autoencoders over HTTP: encode, decode, reconstruct, denoise" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# DONTWRITEBYTECODE: all is compiled already, and the root is read-only.
ENV PATH=/opt/hourglass/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ORT_DISABLE_TELEMETRY=1
STOPSIGNAL SIGTERM
# A number, so that Kubernetes can see that it isn't root.
USER 10001:10001

FROM runtime AS serving
ENV HOURGLASS_HOST=0.0.0.0 \
    HOURGLASS_MODELS_DIR=/models
EXPOSE 8000 8001
# Asks the process at the address of its settings and flags: host, port, TLS, prefix.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-Im", "service.cli.health"]
ENTRYPOINT ["hourglass"]
CMD ["serve"]

FROM serving AS service
COPY --from=cpu /opt/hourglass /opt/hourglass
COPY --from=service-code /code /opt/hourglass
COPY models /models

FROM builder AS gpu
COPY --from=requirements /requirements/base.txt /requirements/gpu.txt /requirements/grpc.txt /requirements/hub.txt /requirements/otel.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install -r /requirements/base.txt -r /requirements/gpu.txt -r /requirements/grpc.txt -r /requirements/hub.txt \
        -r /requirements/otel.txt

FROM serving AS service-gpu
# The CUDA libraries come from the wheels; from the host, the container toolkit brings the driver alone.
# cuda, not auto: an image made for GPUs that silently computes on the processor would be found out by its bill.
ENV HOURGLASS_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=gpu /opt/hourglass /opt/hourglass
COPY --from=service-code /code /opt/hourglass
COPY models /models

FROM builder AS learning
# Where torch comes from, if not from where all else comes: PyTorch's index of CPU builds saves some gigabytes.
ARG TORCH_INDEX=
COPY --from=requirements /requirements/base.txt /requirements/cpu.txt /requirements/training.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    if [ -n "$TORCH_INDEX" ]; then pip install --index-url "$TORCH_INDEX" $(grep '^torch==' /requirements/training.txt); fi \
    && pip install -r /requirements/base.txt -r /requirements/cpu.txt -r /requirements/training.txt

FROM runtime AS training
# Data sets are fetched into, and recipes, runs and models live in, what is mounted at /experiments. The caches of torch and
# matplotlib need a home that can be written.
ENV HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/experiments/data/cache
WORKDIR /experiments
COPY --from=learning /opt/hourglass /opt/hourglass
COPY --from=code /code /opt/hourglass
# What Ctrl-C sends: the run says that it stopped, and goes on from its checkpoint when called with --resume.
STOPSIGNAL SIGINT
ENTRYPOINT ["hourglass-train"]
CMD ["--help"]

FROM builder AS learning-gpu
# PyPI's torch for Linux contains CUDA. onnxruntime only checks the exported graphs, on the processor.
COPY --from=requirements /requirements/base.txt /requirements/cpu.txt /requirements/training.txt /requirements/
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf \
    pip install -r /requirements/base.txt -r /requirements/cpu.txt -r /requirements/training.txt

FROM runtime AS training-gpu
ENV HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    XDG_CACHE_HOME=/experiments/data/cache \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /experiments
COPY --from=learning-gpu /opt/hourglass /opt/hourglass
COPY --from=code /code /opt/hourglass
STOPSIGNAL SIGINT
ENTRYPOINT ["hourglass-train"]
CMD ["--help"]

# The last stage is what `docker build .` makes.
FROM service
