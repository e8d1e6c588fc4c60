variable "V" {
  type = list(string)
}
target "default" {}
