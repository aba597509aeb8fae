# batchchat in one image: the command line, the API, the controller, and with an
# engine the worker.
#
#   docker build -t batchchat .                                  no engine
#   docker build -t batchchat:gpu --build-arg EXTRA=gpu .        vLLM with CUDA
#   docker build -t batchchat:cpu --build-arg EXTRA=cpu .        vLLM's CPU build
FROM python:3.12-slim-bookworm

ARG EXTRA=""

# vLLM compiles small kernels when it starts; libnuma binds its CPU threads.
RUN if [ -n "$EXTRA" ]; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends build-essential libnuma1 \
        && rm -rf /var/lib/apt/lists/*; \
    fi

WORKDIR /opt/batchchat
COPY pyproject.toml README.md LICENSE ./
COPY requirements ./requirements
COPY batchchat ./batchchat
COPY jobs ./jobs
COPY workers ./workers
COPY api ./api
COPY cli ./cli

# The versions that the tests ran with. PyPI's torch is the CUDA build.
RUN pip install --no-cache-dir uv \
    && case "$EXTRA" in \
        cpu) uv pip install --system --no-cache ".[cpu]" --torch-backend cpu \
            --constraint requirements/dev-cpu.lock \
            --override requirements/overrides.txt ;; \
        gpu) uv pip install --system --no-cache ".[gpu]" \
            --constraint requirements/unit.lock ;; \
        *) uv pip install --system --no-cache . \
            --constraint requirements/unit.lock ;; \
    esac

# Nothing runs as root. The home keeps downloaded models: mount a volume there.
RUN useradd --create-home --uid 1000 batchchat
USER batchchat
WORKDIR /home/batchchat
RUN mkdir -p .cache .local/share/batchchat

ENTRYPOINT ["batchchat"]
CMD ["--help"]
