variable "N" {
  type    = set(string)
  default = null
}
target "default" { args = { null = equal(N, null) } }
