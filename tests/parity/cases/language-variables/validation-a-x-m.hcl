variable "A" {
  default = "x"
  validation {
    condition = A == "x"
    error_message = "m"
  }
}
target "default" {}
