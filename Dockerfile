# syntax=docker/dockerfile:1

# batchchat in one image: the command line, the API, the controller and, with an engine,
# the worker.
#
#   docker build -t batchchat .                                  no engine
#   docker build -t batchchat:gpu --build-arg EXTRA=gpu .        vLLM with CUDA
#   docker build -t batchchat:cpu --build-arg EXTRA=cpu .        vLLM's CPU build

ARG EXTRA=none
ARG PYTHON=python:3.12.14-slim-bookworm@sha256:0f5b26b9518d002b6173fd61daad821fa340635ebfec5bba471013f9ca114579

# --- The build tools, in no final image.
FROM ${PYTHON} AS build
ENV XDG_CACHE_HOME=/var/cache/build UV_LINK_MODE=copy
WORKDIR /src
COPY requirements ./requirements
RUN --mount=type=cache,target=/var/cache/build \
    sed -n '/^uv==/,/[^\\]$/p' requirements/unit.lock \
    | pip install --root-user-action ignore --require-hashes --requirement /dev/stdin \
    && uv venv /opt/batchchat

# --- What batchchat depends on, from a lock: a layer that code changes do not touch.
FROM build AS dependencies-none
COPY pyproject.toml ./
RUN --mount=type=cache,target=/var/cache/build \
    uv pip install --python /opt/batchchat -r pyproject.toml \
        --constraint requirements/unit.lock

FROM build AS dependencies-cpu
COPY pyproject.toml ./
RUN --mount=type=cache,target=/var/cache/build \
    uv pip install --python /opt/batchchat -r pyproject.toml --extra cpu \
        --torch-backend cpu --constraint requirements/dev-cpu.lock \
        --override requirements/overrides.txt

FROM build AS dependencies-gpu
COPY pyproject.toml ./
# PyPI's torch is the CUDA build.
RUN --mount=type=cache,target=/var/cache/build \
    uv pip install --python /opt/batchchat -r requirements/gpu.lock

FROM dependencies-${EXTRA} AS dependencies

# --- batchchat itself.
FROM build AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY batchchat ./batchchat
COPY jobs ./jobs
COPY workers ./workers
COPY api ./api
COPY cli ./cli
RUN --mount=type=cache,target=/var/cache/build uv build --wheel --out-dir /dist

# --- The final images. Only those with an engine have a compiler: vLLM compiles small
# kernels when it starts. libnuma binds its CPU threads.
FROM ${PYTHON} AS runtime-none

FROM runtime-none AS runtime-cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/*

FROM runtime-cpu AS runtime-gpu

FROM runtime-${EXTRA}
LABEL org.opencontainers.image.title="batchchat" \
      org.opencontainers.image.description="Asynchronous batch jobs of chat completions on your own GPUs" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=dependencies /opt/batchchat /opt/batchchat
RUN --mount=from=wheel,source=/dist,target=/dist \
    pip --python /opt/batchchat install --no-cache-dir --no-index --no-deps /dist/*.whl
ENV PATH=/opt/batchchat/bin:$PATH

# Nothing runs as root. The home directory keeps downloaded models: mount a volume there.
RUN useradd --create-home --uid 1000 batchchat
USER batchchat
WORKDIR /home/batchchat
RUN mkdir -p .cache .local/share/batchchat

ENTRYPOINT ["batchchat"]
CMD ["--help"]
