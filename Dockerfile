# syntax=docker/dockerfile:1
# eyas as an image: one static program and nothing else. `make image` builds the same
# from a program that Go has built outside, without any base image.
#
# The result is the same, byte for byte, for the same VERSION and SOURCE_DATE_EPOCH:
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) \
#     --build-arg VERSION=$(git describe --tags --always) --output type=image,name=eyas,rewrite-timestamp=true --sbom=true .
ARG GO_VERSION=1.26.8

# The compiler runs on the builder's own platform, whatever it builds for: eyas has no C
# outside of the BPF objects, which are committed (make check-generated proves them).
FROM --platform=$BUILDPLATFORM docker.io/library/golang:${GO_VERSION}-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=devel
# -buildvcs=false: whether there is a .git must not change the program.
RUN CGO_ENABLED=0 GOTOOLCHAIN=local GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= -X github.com/eyas-agent/eyas/agent/command.version=$VERSION" -o /out/eyas ./agent && \
    mkdir /out/licenses && cp LICENSE bpf/LICENSE.GPL-2.0 /out/licenses/

# What is built outside comes in by the context: dist/image/ARCH. No step runs here.
FROM scratch AS prebuilt
ARG TARGETARCH
COPY dist/image/${TARGETARCH}/eyas /eyas
COPY LICENSE bpf/LICENSE.GPL-2.0 /licenses/
COPY dist/image/${TARGETARCH}/sbom.spdx.json /sbom.spdx.json
ARG VERSION=devel REVISION=unknown CREATED=unknown
LABEL org.opencontainers.image.title="eyas" \
      org.opencontainers.image.description="Who is who in containers inside containers: a node agent" \
      org.opencontainers.image.source="https://github.com/eyas-agent/eyas" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
ENTRYPOINT ["/eyas"]
CMD ["agent"]

FROM scratch
COPY --from=build /out/eyas /eyas
COPY --from=build /out/licenses /licenses
ARG VERSION=devel REVISION=unknown CREATED=unknown
LABEL org.opencontainers.image.title="eyas" \
      org.opencontainers.image.description="Who is who in containers inside containers: a node agent" \
      org.opencontainers.image.source="https://github.com/eyas-agent/eyas" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
# The commands that only ask need no root, but the agent does, with capabilities that a
# manifest lists. There is no USER: in an image without /etc/passwd it is 0.
ENTRYPOINT ["/eyas"]
CMD ["agent"]
