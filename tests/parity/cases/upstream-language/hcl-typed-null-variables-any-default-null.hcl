variable "N" {
  type    = any
  default = null
}
target "default" { args = { null = equal(N, null) } }
