target "default" {
  matrix = ["x"]
}
