variable "V" {
  type = lower("bool")
}
target "default" {}
