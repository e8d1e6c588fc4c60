variable "V" {
  type    = number
  default = "many"
}
target "default" { args = { v = V } }
