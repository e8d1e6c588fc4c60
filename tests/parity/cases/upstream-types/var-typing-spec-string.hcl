variable "V" {
  type = string
}
target "default" {}
