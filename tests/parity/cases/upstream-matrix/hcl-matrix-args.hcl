a = 1
variable "b" { default = 2 }
target "default" {
  matrix = { v = [a, b] }
  name   = v
}
