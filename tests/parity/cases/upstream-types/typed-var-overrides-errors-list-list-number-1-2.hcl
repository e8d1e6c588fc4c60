variable "V" {
  type = list(list(number))
}
target "default" { args = { v = V } }
