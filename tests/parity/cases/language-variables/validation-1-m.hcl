variable "A" {
  default = "x"
  validation {
    condition = 1
    error_message = "m"
  }
}
target "default" {}
