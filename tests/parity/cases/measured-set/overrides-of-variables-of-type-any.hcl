variable "V" {
  type    = any
  default = "d"
}
target "default" { args = { V = jsonencode(V) } }
