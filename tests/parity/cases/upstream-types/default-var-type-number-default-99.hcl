variable "V" {
  type    = number
  default = 99
}
target "default" { args = { v = V + 1 } }
