variable "A" {
  default = "x"
  validation {
    condition = "true"
    error_message = "m"
  }
}
target "default" {}
