variable "V" {
  type = list(string)
}
target "default" { args = { V = jsonencode(V) } }
