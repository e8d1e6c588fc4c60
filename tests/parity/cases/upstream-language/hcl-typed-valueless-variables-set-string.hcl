variable "N" {
  type = set(string)
}
target "default" { args = { null = equal(N, null) } }
