target "a" {
  contexts = { x = "target:b" }
  platforms = ["linux/s390x"]
}
target "b" { platforms = ["linux/amd64", "linux/arm64"] }
