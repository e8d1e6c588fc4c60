function "f" {
  params = [x]
  result = x == "a"
}
variable "V" {
  default = "a"
  validation {
    condition     = f(V)
    error_message = "no"
  }
}
target "default" { args = { V = V } }
