# shellcheck shell=bash
# Makes images without a container engine: from a root file system to an OCI layout. Sourced after stamp.sh.
#
# The digest depends on the layout alone, so a second push only compares digests.

# oci_image FOLDER CONFIG: FOLDER/rootfs.tar becomes the one layer of the OCI layout FOLDER/image. CONFIG is the
# JSON of the image's run configuration (Env, Entrypoint, …).
oci_image() {
  local folder=$1 config=$2 blobs diff layer
  need jq "to write an image's manifest"
  blobs=$folder/image/blobs/sha256
  mkdir -p "$blobs"
  diff=$(sha256sum <"$folder/rootfs.tar" | cut -d' ' -f1)
  gzip -n -3 <"$folder/rootfs.tar" >"$folder/layer"
  rm -- "$folder/rootfs.tar"
  layer=$(oci_blob "$folder/layer" "$blobs")
  # The platform must be set: without it BuildKit warns, and an export to Docker is refused.
  jq -nc --argjson config "$config" --arg diff "sha256:$diff" --arg architecture "$(oci_architecture)" \
    '{architecture: $architecture, os: "linux", created: "1970-01-01T00:00:00Z", config: $config,
      rootfs: {type: "layers", diff_ids: [$diff]},
      history: [{created: "1970-01-01T00:00:00Z", created_by: "rbake scripts: stand-in"}]}' >"$folder/config"
  local config_size layer_size config_digest manifest_size manifest
  config_size=$(stat -c %s "$folder/config")
  config_digest=$(oci_blob "$folder/config" "$blobs")
  layer_size=$(stat -c %s "$blobs/$layer")
  jq -nc --arg config "sha256:$config_digest" --argjson config_size "$config_size" \
    --arg layer "sha256:$layer" --argjson layer_size "$layer_size" \
    '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
      config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $config_size},
      layers: [{mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: $layer, size: $layer_size}]}' >"$folder/manifest"
  manifest_size=$(stat -c %s "$folder/manifest")
  manifest=$(oci_blob "$folder/manifest" "$blobs")
  printf '{"imageLayoutVersion":"1.0.0"}' >"$folder/image/oci-layout"
  jq -nc --arg digest "sha256:$manifest" --argjson size "$manifest_size" \
    '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
      manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size}]}' \
    >"$folder/image/index.json"
}

# oci_blob FILE BLOBS: moves FILE to its place among the blobs and prints its sha256.
oci_blob() {
  local sha
  sha=$(sha256sum <"$1" | cut -d' ' -f1)
  mv -- "$1" "$2/$sha"
  printf '%s' "$sha"
}

oci_architecture() {
  case $(uname -m) in
    x86_64) printf amd64 ;;
    aarch64) printf arm64 ;;
    *) die "cannot make an image for \`$(uname -m)\`" ;;
  esac
}

oci_digest() { jq -r '.manifests[0].digest' "$1/image/index.json"; }

# oci_push FOLDER REFERENCE: pushes the image to a registry that speaks plain HTTP.
oci_push() {
  local crane
  crane=$(peer_dir crane)/bin/crane
  if [ "$("$crane" digest --insecure "$2" 2>/dev/null)" = "$(oci_digest "$1")" ]; then return 0; fi
  mkdir -p "$PEERS_DIR/logs"
  quietly "$PEERS_DIR/logs/push.log" "$crane" push --insecure "$1/image" "$2"
}
