variable "V" {
  type = set(number)
}
target "default" { args = { v = join("-", [for v in sort(V) : v + 1]) } }
