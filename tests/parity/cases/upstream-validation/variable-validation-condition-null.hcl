variable "V" {
  default = 80
  validation {}
}
target "default" { args = { V = V } }
