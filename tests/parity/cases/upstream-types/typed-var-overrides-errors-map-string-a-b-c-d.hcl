variable "V" {
  type = map(string)
}
target "default" { args = { v = V } }
