variable "V" {
  validation {
    condition = true
  }
  validation {
    condition = V == ""
  }
}
target "default" {}
