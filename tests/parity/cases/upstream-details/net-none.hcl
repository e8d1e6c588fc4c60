target "default" {
  dockerfile = "D"
  network    = "none"
}
