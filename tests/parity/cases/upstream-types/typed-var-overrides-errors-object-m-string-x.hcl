variable "V" {
  type = object({m = string})
}
target "default" { args = { v = V } }
