function "f" {
  result = "x"
}
target "default" { args = { v = f() } }
