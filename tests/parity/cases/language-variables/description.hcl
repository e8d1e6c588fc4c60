variable "A" {
  description = "x${1}"
}
target "default" {}
