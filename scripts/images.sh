#!/bin/sh
# Builds the images of the services, and says how large they are.
# Usage: scripts/images.sh [SERVICE...]      (all four by default)
#
#   BASE_IMAGE      any image with Python 3.11 or newer, its venv module and CA certificates
#   IMAGE_PREFIX    what stands before the names, such as team/mezzo-; mezzo- by default
#   IMAGE_TAG       the tag; latest by default
#   BUILDER         docker by default; buildah and podman do as well
#   BUILD_FLAGS     more flags for it, such as --network=host
set -eu
cd "$(dirname "$0")/.."

[ $# -gt 0 ] || set -- registry allocator gateway agent
builder=${BUILDER:-docker}
base=${BASE_IMAGE:-python:3.13-slim-bookworm}
prefix=${IMAGE_PREFIX:-mezzo-}
tag=${IMAGE_TAG:-latest}
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)
[ -z "$(git status --porcelain --untracked-files=no 2> /dev/null)" ] || revision=$revision-dirty
version=$(sed -n 's/^version = "\(.*\)"/\1/p' sdk/python/pyproject.toml)

build() {
    # buildah keeps health checks in Docker's format alone.
    case $builder in
        buildah | podman) set -- --format docker "$@" ;;
    esac
    # shellcheck disable=SC2086  # several flags
    "$builder" build ${BUILD_FLAGS:-} "$@" .
}

for stage in wheels runtime; do
    build --target "$stage" --build-arg "BASE_IMAGE=$base" -t "${prefix}$stage:$tag" -f deploy/images/base.Dockerfile
done
for service in "$@"; do
    build --build-arg "WHEELS=${prefix}wheels:$tag" --build-arg "RUNTIME=${prefix}runtime:$tag" \
        --build-arg "REVISION=$revision" --build-arg "VERSION=$version" \
        -t "${prefix}$service:$tag" -f "services/$service/Dockerfile"
done
for service in "$@"; do
    "$builder" images --format '{{.Repository}}:{{.Tag}} {{.Size}}' "${prefix}$service:$tag"
done
