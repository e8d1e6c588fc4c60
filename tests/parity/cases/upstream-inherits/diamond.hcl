target "top" { args = { one = "1", two = "2" } }
target "left" {
  inherits = ["top"]
  args     = { two = "left" }
}
target "right" {
  inherits = ["top"]
  args     = { three = "right" }
}
target "bottom" { inherits = ["left", "right"] }
