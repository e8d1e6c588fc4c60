variable "N" {
  type = string
}
target "default" { args = { null = equal(N, null) } }
