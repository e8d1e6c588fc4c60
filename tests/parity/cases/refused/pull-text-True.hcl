target "default" {
  pull = "True"
}
