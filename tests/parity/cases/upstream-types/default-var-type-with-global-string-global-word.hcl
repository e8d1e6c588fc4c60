G = "word"
variable "V" {
  type    = string
  default = G
}
target "default" { args = { v = jsonencode(V) } }
