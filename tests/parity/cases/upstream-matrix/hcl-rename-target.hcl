target "a" {
  name       = "b"
  dockerfile = "D"
}
