target "default" {
  target = true
}
