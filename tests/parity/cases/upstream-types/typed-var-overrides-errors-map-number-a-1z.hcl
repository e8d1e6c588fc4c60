variable "V" {
  type = map(number)
}
target "default" { args = { v = V } }
