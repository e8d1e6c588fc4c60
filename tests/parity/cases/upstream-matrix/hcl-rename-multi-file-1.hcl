target "l" {
  name       = "n"
  matrix     = {}
  dockerfile = "D"
}
