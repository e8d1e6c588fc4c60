#!/bin/sh
# The stand-in for BuildKit's scanner: writes an SPDX document that names the files of an image (BuildKit,
# docs/attestations/sbom-protocol.md). Equal images have equal documents.
set -eu
name=$(basename "$BUILDKIT_SCAN_SOURCE")
files=$(cd "$BUILDKIT_SCAN_SOURCE" && find . -type f | sort | sed 's/["\\]//g; s/.*/{"fileName":"&"},/')
cat >"$BUILDKIT_SCAN_DESTINATION/$name.spdx.json" <<END
{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document","subject":[],"predicate":{
"SPDXID":"SPDXRef-DOCUMENT","spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","name":"$name",
"documentNamespace":"https://example.com/$name",
"creationInfo":{"created":"1970-01-01T00:00:00Z","creators":["Tool: stand-in"]},
"files":[${files%,}]}}
END
