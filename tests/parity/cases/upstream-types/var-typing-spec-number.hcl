variable "V" {
  type = number
}
target "default" {}
