variable "V" {
  type = map(list(number))
}
target "default" { args = { v = V } }
