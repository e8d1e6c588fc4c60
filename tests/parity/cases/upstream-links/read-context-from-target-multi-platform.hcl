target "below" {
  output    = ["x"]
  platforms = ["linux/amd64", "linux/arm64"]
}
target "t" {
  contexts  = { c: "target:below" }
  platforms = ["linux/amd64", "linux/arm64"]
}
