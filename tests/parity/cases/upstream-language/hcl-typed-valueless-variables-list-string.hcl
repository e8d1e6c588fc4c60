variable "N" {
  type = list(string)
}
target "default" { args = { null = equal(N, null) } }
