variable "A" {
  default = "x"
  validation {
    condition = A == "y"
    error_message = "m"
  }
}
target "default" {}
