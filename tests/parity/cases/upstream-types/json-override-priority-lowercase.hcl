variable "v" {
  type    = number
  default = 101
}
target "default" { args = { v = v } }
