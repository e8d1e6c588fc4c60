variable "N" {
  type = number
}
target "default" { args = { null = equal(N, null) } }
