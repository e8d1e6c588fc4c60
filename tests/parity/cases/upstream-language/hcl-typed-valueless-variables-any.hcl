variable "N" {
  type = any
}
target "default" { args = { null = equal(N, null) } }
