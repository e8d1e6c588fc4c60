G = "99"
variable "V" {
  type    = number
  default = G
}
target "default" { args = { v = jsonencode(V) } }
