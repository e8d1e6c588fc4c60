variable "FIRST" {}
variable "V" {
  validation {
    condition     = FIRST != ""
    error_message = "V needs FIRST."
  }
}
target "default" { args = { V = V } }
