variable "N" {
  type    = tuple([string])
  default = null
}
target "default" { args = { null = equal(N, null) } }
