V = "x"
variable "V" {
  type = number
}
target "default" { args = { V = V } }
