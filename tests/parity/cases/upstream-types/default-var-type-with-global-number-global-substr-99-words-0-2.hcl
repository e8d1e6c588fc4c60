G = substr("99 words", 0, 2)
variable "V" {
  type    = number
  default = G
}
target "default" { args = { v = jsonencode(V) } }
