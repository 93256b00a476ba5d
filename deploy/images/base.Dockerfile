# What the images of all services share: the stage that makes the wheels, and the one that they run on.
# Built by scripts/images.sh, with the root of the repository as the context.
#
# BASE_IMAGE is any image with Python 3.11 or newer, its venv module and CA certificates. It is given by those who build,
# so that it can be a mirror's, or one pinned by its digest.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS wheels
WORKDIR /source
COPY deploy/images/build.txt deploy/images/
RUN python3 -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: --require-hashes \
        -r deploy/images/build.txt
COPY LICENSE ./
COPY protos protos
COPY sdk sdk
COPY services services
# Each distribution is built without fetching anything: what builds it was installed above, by its hash.
RUN /build/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --no-index \
        --wheel-dir /wheels ./sdk/python ./services/chassis ./services/registry ./services/allocator ./services/gateway \
        ./services/agent

FROM ${BASE_IMAGE} AS runtime
RUN groupadd --gid 10001 mezzo \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/mezzo --no-create-home --shell /usr/sbin/nologin mezzo \
    && install -d -o mezzo -g mezzo -m 0750 /var/lib/mezzo
ENV PATH=/opt/mezzo/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /var/lib/mezzo
STOPSIGNAL SIGTERM
