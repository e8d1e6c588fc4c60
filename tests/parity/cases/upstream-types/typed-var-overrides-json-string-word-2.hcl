variable "V" {
  type = string
}
target "default" { args = { v = V } }
