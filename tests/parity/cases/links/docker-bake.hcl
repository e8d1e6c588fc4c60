target "app" { contexts = { b = "target:mid", a = "target:base", img = "docker-image://x" } }
target "mid" {
  contexts = { base = "target:base" }
  output   = ["type=image"]
}
target "base" {
  output       = ["type=image,push=true"]
  entitlements = ["security.insecure"]
  tags         = ["base"]
}
target "unused" {}
target "not-a-link" { context = "target:base" }
target "dockerfile" { dockerfile = "target:base" }
target "loop-1" { contexts = { x = "target:loop-2" } }
target "loop-2" { contexts = { x = "target:loop-1" } }
target "self" { contexts = { x = "target:self" } }
target "missing" { contexts = { x = "target:nope" } }
target "to-group" { contexts = { x = "target:g" } }
target "inherited" { inherits = ["mid"] }
target "removed" {
  inherits = ["mid"]
  contexts = { base = "" }
}
group "g" { targets = ["base"] }
target "multi" {
  contexts  = { x = "target:multi-base" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "multi-base" { platforms = ["linux/amd64", "linux/arm64", "linux/386"] }
target "multi-bad" {
  contexts  = { x = "target:multi-less" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "multi-less" { platforms = ["linux/amd64", "linux/386"] }
target "multi-one" {
  contexts  = { x = "target:one" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "one" { platforms = ["linux/s390x"] }
target "host" {
  contexts = { x = "target:hosted" }
}
target "hosted" { network = "host" }
