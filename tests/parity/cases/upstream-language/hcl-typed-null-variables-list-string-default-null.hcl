variable "N" {
  type    = list(string)
  default = null
}
target "default" { args = { null = equal(N, null) } }
