target "t" {
  platforms = ["linux/s390x"]
  output    = ["somewhere"]
}
