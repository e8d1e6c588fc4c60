target "x" {
  matrix = { v = ["a", "b"] }
  name   = v
}
target "y" {
  matrix = { w = ["c", "d"] }
  name   = w
}
