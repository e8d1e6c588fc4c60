variable "V" {
  default = 0
  validation {
    condition = V > 7
  }
}
target "default" { args = { V = V } }
