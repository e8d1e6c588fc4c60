# The image of rbake itself, built by rbake from static programs for both processors, which must be there already.
#
#   scripts/release.sh archive linux-amd64 linux-arm64
#   rbake -f bake/rbake.hcl --push                                     what a release does
#   rbake -f bake/rbake.hcl --load --set 'image.platform=linux/amd64'  one platform, into Docker
#
# In a container of the image, rbake builds on the engine whose socket is mounted:
#
#   docker run --rm -v /var/run/docker.sock:/var/run/docker.sock -v "$PWD:/work" ghcr.io/rbake/rbake web

variable "IMAGE" {
  description = "The name of the image, with the registry"
  default     = "ghcr.io/rbake/rbake"
}

variable "VERSION" {
  description = "The release, as in v0.1.0"
  default     = "dev"
  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{1,100}$", VERSION))
    error_message = "VERSION becomes a tag: use letters, digits, '_', '.' and '-', at most 100."
  }
}

variable "GITHUB_SHA" {
  description = "The commit that the programs were built from"
  default     = "dev"
}

variable "BINARIES" {
  description = "The folder with linux/amd64/rbake and linux/arm64/rbake"
  default     = "target/dist/binaries"
}

variable "CERTIFICATES_IMAGE" {
  description = "An image that has /etc/ssl/certs/ca-certificates.crt"
  default     = "alpine:3"
}

group "default" {
  targets = ["image"]
}

target "image" {
  description = "rbake and the certificates of public authorities, nothing else"
  context     = "dockerfiles"
  dockerfile  = "Dockerfile.rbake"
  contexts = {
    binaries = BINARIES
  }
  args = {
    CERTIFICATES_IMAGE = CERTIFICATES_IMAGE
  }
  platforms = ["linux/amd64", "linux/arm64"]
  # An image that is built from a checkout is not the latest release.
  tags = VERSION == "dev" ? ["${IMAGE}:dev"] : ["${IMAGE}:${VERSION}", "${IMAGE}:latest"]
  attest = [
    "type=provenance,mode=max",
  ]
  labels = {
    "org.opencontainers.image.title"    = "rbake"
    "org.opencontainers.image.source"   = "https://github.com/rbake/rbake"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.version"  = VERSION
    "org.opencontainers.image.revision" = GITHUB_SHA
  }
}
