variable "A" {
  default = "x"
  validation {
    condition = nosuch
    error_message = "m"
  }
}
target "default" {}
