target "map" {
  matrix = { v = { x = "1", y = "2" } }
  name   = "m${v}"
}
target "set" {
  matrix = { v = setunion(["q"], ["p", "q"]) }
  name   = "s${v}"
}
