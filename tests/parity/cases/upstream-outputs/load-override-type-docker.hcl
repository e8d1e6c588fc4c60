target "t" {
  output = ["type=docker"]
}
