variable "A" {
  description = 5
}
target "default" {}
