variable "L" { default = "x" }
target "l" {
  matrix = { v = split(",", L) }
  name   = "l-${v}"
  args   = { v = v }
}
