p = ["linux/arm64", "linux/386"]
target "default" {
  platforms = p
  args      = { first: p[0] }
}
