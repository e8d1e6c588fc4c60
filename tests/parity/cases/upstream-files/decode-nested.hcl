variable "V" {
  validation "x" {
    condition = true
  }
}
target "default" {}
