target "default" {
  output = "x"
}
