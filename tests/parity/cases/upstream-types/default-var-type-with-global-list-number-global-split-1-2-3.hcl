G = split(",", "1,2,3")
variable "V" {
  type    = list(number)
  default = G
}
target "default" { args = { v = jsonencode(V) } }
