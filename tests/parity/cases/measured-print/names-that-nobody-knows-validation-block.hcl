variable "V" {
  validation {
    condition = true
    foo {}
  }
}
target "default" {}
