variable "A" {
  default = "x"
  validation {
    condition = A == "y"
    error_message = null
  }
}
target "default" {}
