variable "V" {
  type = set(string)
}
target "default" {}
