variable "V" {
  validation {
    condition = true
    foo       = 1
  }
}
target "default" {}
