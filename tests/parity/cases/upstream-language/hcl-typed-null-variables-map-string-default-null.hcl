variable "N" {
  type    = map(string)
  default = null
}
target "default" { args = { null = equal(N, null) } }
