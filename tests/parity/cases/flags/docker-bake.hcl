target "default" {
  attest   = ["type=provenance,mode=min"]
  no-cache = true
  pull     = true
}
target "plain" {}
