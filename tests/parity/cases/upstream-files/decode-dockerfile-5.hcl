target "default" {
  dockerfile = 5
}
