variable "N" {
  type    = string
  default = null
}
target "default" { args = { null = equal(N, null) } }
