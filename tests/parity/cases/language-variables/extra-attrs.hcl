variable "A" {
  sensitive = true
 foo {}
}
target "default" {}
