variable "V" {
  type = tuple([string, number])
}
target "default" {}
