target "default" {
  output = [5]
}
