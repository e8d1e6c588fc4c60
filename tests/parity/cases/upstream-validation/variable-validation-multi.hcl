variable "V" {
  validation {
    condition     = V != ""
    error_message = "V must be given."
  }
  validation {
    condition     = strlen(V) > 3
    error_message = "V is too short."
  }
}
target "default" { args = { V = V } }
