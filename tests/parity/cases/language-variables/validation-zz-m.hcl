variable "A" {
  default = "x"
  validation {
    condition = "zz"
    error_message = "m"
  }
}
target "default" {}
