variable "V" {
  type    = bool
  default = true
}
target "default" { args = { v = and(V, true) } }
