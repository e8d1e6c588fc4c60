variable "V" {
  type = set(number)
}
target "default" { args = { v = V } }
