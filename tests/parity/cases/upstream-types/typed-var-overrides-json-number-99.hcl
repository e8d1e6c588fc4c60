variable "V" {
  type = number
}
target "default" { args = { v = V } }
