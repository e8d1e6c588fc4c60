variable "N" {
  type    = bool
  default = null
}
target "default" { args = { null = equal(N, null) } }
