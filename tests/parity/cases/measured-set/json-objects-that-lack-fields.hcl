variable "V" {
  type = object({ a = string, b = number })
}
target "default" { args = { V = jsonencode(V) } }
