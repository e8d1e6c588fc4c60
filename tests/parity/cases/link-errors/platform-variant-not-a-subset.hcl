target "a" {
  contexts = { x = "target:b" }
  platforms = ["linux/arm64/v8", "linux/amd64"]
}
target "b" { platforms = ["linux/amd64", "linux/arm64"] }
