target "default" {
  args = ["x"]
}
