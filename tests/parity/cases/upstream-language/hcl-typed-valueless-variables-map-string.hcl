variable "N" {
  type = map(string)
}
target "default" { args = { null = equal(N, null) } }
