variable "V" {
  type = set(set(number))
}
target "default" { args = { v = V } }
