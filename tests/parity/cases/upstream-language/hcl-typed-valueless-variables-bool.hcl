variable "N" {
  type = bool
}
target "default" { args = { null = equal(N, null) } }
