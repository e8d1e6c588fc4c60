variable "A" {
  description = null
}
target "default" {}
