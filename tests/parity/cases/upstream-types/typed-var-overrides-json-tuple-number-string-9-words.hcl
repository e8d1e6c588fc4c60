variable "V" {
  type = tuple([number, string])
}
target "default" { args = { v = format("%d %s", V[0], V[1]) } }
