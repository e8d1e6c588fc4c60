variable "A" {
  validation {
    condition = B == "b"
 error_message = "m"
 }
}
variable "B" { default = "b" }
target "default" {}
