target "l" {
  matrix = {}
  args   = { a = "b" }
}
