target "default" {
  matrix = { v = [] }
  name   = "x${v}"
}
target "a" {}
