variable "V" {
  type = tuple([number, string])
}
target "default" { args = { v = V } }
