target "l" {
  matrix = { v = [["a", "b"], ["c", "d"]] }
  name   = v[0]
  args   = { v = "<${v[1]}>" }
}
