target "default" {
  pull = "true"
}
