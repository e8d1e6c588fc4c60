target "default" {
  attest = ["type=sbom", "type=sbom,generator=mine", "type=sbom,x=y", "type=provenance,mode=max"]
}
