target "default" {
  dockerfile = "D"
  network    = "host"
}
