target "a" {
  inherits = ["a"]
  args     = { x = "1" }
}
target "b" {
  inherits = ["c"]
  args     = { v = "b", b = "b" }
}
target "c" {
  inherits = ["b"]
  args     = { v = "c", c = "c" }
}
