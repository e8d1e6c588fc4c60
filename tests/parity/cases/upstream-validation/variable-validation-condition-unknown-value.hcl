variable "V" {
  default = 80
  validation {
    condition = "words"
  }
}
target "default" { args = { V = V } }
