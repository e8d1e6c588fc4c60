target "t" {
  output = ["type=registry"]
}
