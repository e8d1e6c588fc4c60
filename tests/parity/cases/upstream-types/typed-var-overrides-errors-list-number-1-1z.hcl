variable "V" {
  type = list(number)
}
target "default" { args = { v = V } }
