variable "V" {
  type = BOOL
}
target "default" {}
