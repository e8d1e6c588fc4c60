target "t" {
  output = ["type=image"]
}
