variable "N" {
  type    = number
  default = null
}
target "default" { args = { null = equal(N, null) } }
