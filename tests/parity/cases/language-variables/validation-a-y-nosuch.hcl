variable "A" {
  default = "x"
  validation {
    condition = A == "y"
    error_message = nosuch
  }
}
target "default" {}
