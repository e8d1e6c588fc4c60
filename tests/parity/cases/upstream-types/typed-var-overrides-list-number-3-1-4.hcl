variable "V" {
  type = list(number)
}
target "default" { args = { v = join("-", [for v in V : v + 1]) } }
