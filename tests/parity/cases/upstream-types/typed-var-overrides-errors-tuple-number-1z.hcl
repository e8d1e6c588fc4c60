variable "V" {
  type = tuple([number])
}
target "default" { args = { v = V } }
