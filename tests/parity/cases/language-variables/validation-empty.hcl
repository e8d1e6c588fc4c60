variable "A" {
  validation {
  }
}
target "default" {}
