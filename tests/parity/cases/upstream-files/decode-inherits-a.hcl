target "default" {
  inherits = "a"
}
