variable "V" {
  type = any
}
target "default" {}
