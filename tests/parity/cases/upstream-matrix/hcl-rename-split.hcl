target "l" {
  name       = "a"
  matrix     = {}
  dockerfile = "A"
}
target "l" {
  name       = "b"
  matrix     = {}
  dockerfile = "B"
}
