variable "b" {
  default     = "x"
  description = "This is b"
}
variable "a" { default = null }
variable "c" {}
target "default" {}
