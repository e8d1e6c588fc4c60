variable "V" {
  validation {
    condition     = V != ""
    error_message = "V must be given."
  }
}
target "default" { args = { V = V } }
