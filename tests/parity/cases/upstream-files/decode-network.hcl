target "default" {
  network = {}
}
