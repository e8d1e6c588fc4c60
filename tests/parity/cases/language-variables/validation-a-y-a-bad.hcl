variable "A" {
  default = "x"
  validation {
    condition = A == "y"
    error_message = "${A} bad"
  }
}
target "default" {}
