variable "V" {
  type = bool
}
target "default" { args = { v = V } }
