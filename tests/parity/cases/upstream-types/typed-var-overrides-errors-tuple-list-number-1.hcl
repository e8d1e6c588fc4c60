variable "V" {
  type = tuple([list(number)])
}
target "default" { args = { v = V } }
