variable "V" {
  type = boolean
}
target "default" {}
