G = 99
variable "V" {
  type    = bool
  default = G
}
target "default" { args = { v = jsonencode(V) } }
