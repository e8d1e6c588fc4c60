target "default" {
  output = ["type="]
}
