variable "A" {
  validation "x" {
 condition = true
  }
}
target "default" {}
