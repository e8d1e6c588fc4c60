target "below" {
  output    = ["x"]
  platforms = ["linux/amd64", "linux/s390x"]
}
target "t" {
  contexts  = { c: "target:below" }
  platforms = ["linux/amd64", "linux/arm64"]
}
