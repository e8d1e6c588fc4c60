variable "V" {
  type    = list(number)
  default = ["many"]
}
target "default" { args = { v = V } }
