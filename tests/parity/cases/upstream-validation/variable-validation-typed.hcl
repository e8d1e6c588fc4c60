variable "V" {
  default = 0
  validation {
    condition     = V > 7
    error_message = "V is too small."
  }
}
target "default" { args = { V = V } }
