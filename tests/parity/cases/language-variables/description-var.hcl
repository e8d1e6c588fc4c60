variable "A" {
  description = "x${B}"
}
variable "B" {}
target "default" {}
